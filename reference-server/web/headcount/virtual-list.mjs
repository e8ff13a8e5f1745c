// A list of any length around its reader's place: scrolling, rows that stay in view, the active row. Of the page it
// touches two elements only: the one that scrolls, and the tall one inside it.

import { commonShift, groupAt, isHeaderKey, layOut, rowKey, shiftActive } from "./groups.mjs";
import { ScrollMap } from "./scroll-map.mjs";

const ROW_PX = 40;
const OVERSCAN = 8;
const IDLE_MS = 1000;
/** Without a `scrollend` event, scrolling counts as ended after this long without a scroll event. */
const SCROLL_OVER_MS = 600;
const JUMP_PAUSE_MS = 90;
/** For so long after a reconnect the reader's place is kept, and after a jump its row is sought: the list may fill. */
const PLACE_KEPT_MS = 10_000;
/** Rows around the visible ones among which a row that moved is looked for. */
const FOLLOWED = 200;

/**
 * Wants the windows of a WindowKeeper around the visible rows. `drawNow()` and `drawSoon()` are called when what `read`
 * returns has changed, `jumped()` when the reader jumped by the scrollbar. Heights are in pixels.
 */
export class VirtualList {
  #keeper = null;
  #map;
  #elements = standIn(0, 0);
  #unlisten = () => {};
  #shown = new Map();
  #timers = {};
  #sought = null;
  /** The distance from the top to return to after a reconnect, until the list reaches it or the reader scrolls. */
  #place = null;
  #scrolling = false;

  constructor({ rowHeight = ROW_PX, overscan = OVERSCAN, drawNow, drawSoon = drawNow, jumped = () => {} }) {
    this.rowHeight = rowHeight;
    this.overscan = overscan;
    this.drawNow = drawNow;
    this.drawSoon = drawSoon;
    this.jumped = jumped;
    this.#map = new ScrollMap(rowHeight);
    /** The groups with rows, as `layOut` places them. */
    this.groups = [];
    /** The index of the row that keys move from, or null. */
    this.active = null;
  }

  /** Takes the element that scrolls, and the one inside it whose height is set to that of the list. */
  attach({ scroll, sizer }) {
    this.detach();
    this.#elements = { scroll, sizer: sizer ?? this.#elements.sizer };
    const onScroll = () => this.#onScroll();
    const onScrollEnd = () => this.#onScrollEnd();
    scroll.addEventListener("scroll", onScroll, { passive: true });
    scroll.addEventListener("scrollend", onScrollEnd, { passive: true });
    const observer = globalThis.ResizeObserver && new ResizeObserver(() => this.#resize());
    observer?.observe(scroll);
    this.#unlisten = () => {
      scroll.removeEventListener("scroll", onScroll);
      scroll.removeEventListener("scrollend", onScrollEnd);
      observer?.disconnect();
    };
    this.#map.scrollTop = scroll.scrollTop;
    this.#resize();
    if (this.#map.offset > 0) this.#apply(this.#map.settle());
  }

  /** Lets go of the elements. The reader's place is kept for the next ones. */
  detach() {
    this.#unlisten();
    this.#unlisten = () => {};
    this.#elements = standIn(this.#map.scrollTop, this.#map.viewHeight);
  }

  /** Shows another list from its top, or none. */
  show(keeper) {
    this.#keeper = keeper;
    if (!keeper) this.#endTimers();
    this.groups = [];
    this.#shown.clear();
    this.active = null;
    this.#sought = null;
    this.#place = null;
    this.#map = new ScrollMap(this.rowHeight);
    this.#elements.scroll.scrollTop = 0;
    this.#resize();
  }

  /** Shows the same list over a new connection: visible rows do not move, even if the list is short at first. */
  reconnected(keeper) {
    this.#keeper = keeper;
    this.#place ??= this.#map.offset;
    clearTimeout(this.#timers.place);
    this.#timers.place = setTimeout(() => this.#forgetPlace(), PLACE_KEPT_MS);
    this.#want();
  }

  /** Takes up changed rows and counts. */
  changed() {
    const counts = this.#keeper?.counts;
    if (!counts) return;
    this.groups = layOut(counts);
    this.#resizeRows(counts.rows);
    this.#follow();
    this.#goToSought();
    this.#want();
    this.drawSoon();
  }

  /** Shows no list, and lets go of the elements. */
  close() {
    this.show(null);
    this.detach();
  }

  /** The length of the list. */
  get rows() {
    return this.#map.rows;
  }

  /** The height of the element inside the one that scrolls. */
  get height() {
    return this.#map.height;
  }

  /** The first row in view, the length of the list, and how far down the reader is in percent. */
  get position() {
    const { rows, offset, offsetMax } = this.#map;
    const percent = offsetMax === 0 ? 0 : Math.round((offset / offsetMax) * 100);
    return { first: this.#map.visible[0], rows, percent };
  }

  /** The group of the active row, or of the first row of the list; null if it is not known. */
  get activeGroup() {
    const active = this.active ?? 0;
    // A header names its group itself: counts come once a second, rows sooner.
    return this.#keeper?.row(active)?.group ?? groupAt(this.groups, active)?.group ?? null;
  }

  /**
   * Returns what to draw, and counts the rows in view as shown from now on: the view follows them when others come or
   * go above. `rows` are `{index, top, row, group}`: `row` is null until it arrives, `top` is its place in the tall
   * element, `group` is that of `groups`. `header` is the header to be drawn at the top of the view, or null.
   */
  read() {
    const [first, end] = this.#map.visible;
    const from = Math.max(0, first - this.overscan);
    const to = Math.min(this.#map.rows, end + this.overscan);
    this.#shown.clear();
    const rows = [];
    for (let index = from; index < to; index += 1) {
      const held = this.#keeper?.row(index) ?? null;
      const group = groupAt(this.groups, index);
      // A header's index and count are known before its window is.
      const row = held ?? (group?.first === index ? group : null);
      if (row && index >= first && index < end) this.#shown.set(rowKey(row), index);
      rows.push({ index, top: this.#map.layoutTop(index), row, group });
    }
    return { rows, from, to, total: this.#map.rows, rowHeight: this.rowHeight, header: this.#header(first) };
  }

  /** Returns the header of the first group in view, if its row is above: the next one pushes it out by `top` pixels. */
  #header(first) {
    const group = groupAt(this.groups, first);
    const { offset } = this.#map;
    if (!group || offset <= group.first * this.rowHeight) return null;
    const next = (group.first + group.rows) * this.rowHeight - offset;
    return { ...group, top: Math.min(0, next - this.rowHeight) };
  }

  /** Puts the row at an index at the top of the view and makes it the active one. */
  goTo(index) {
    this.#sought = null;
    this.#forgetPlace();
    this.active = index;
    const isHeader = this.groups.some(({ first }) => first === index) || this.#keeper?.row(index)?.group !== undefined;
    this.#apply(this.#map.goTo(isHeader ? index : index - 1));
    this.#want();
    this.drawNow();
  }

  /** Does the same for the row of a key (see `rowKey`), which is expected at an index or near it, if that is known. */
  async seek(key, index = null) {
    if (index !== null) this.goTo(index);
    // Until it is found, the reader goes elsewhere, or it was long ago.
    this.#sought = key;
    clearTimeout(this.#timers.sought);
    this.#timers.sought = setTimeout(() => {
      this.#sought = null;
    }, PLACE_KEPT_MS);
    await this.#keeper?.reach(key);
    this.#goToSought();
  }

  /** Makes a row the active one: by default the first in view, if none is. */
  activate(index = this.active ?? this.#map.visible[0]) {
    if (this.#map.rows > 0) this.active = index;
    this.drawSoon();
  }

  /** Moves the active row by a key (`ArrowDown`, `PageUp`, `Home`, …). Returns whether it was one of these. */
  press(key) {
    const last = this.#map.rows - 1;
    const page = Math.max(1, Math.floor(this.#map.viewHeight / this.rowHeight) - 2);
    const active = this.active ?? this.#map.visible[0];
    const target = {
      ArrowDown: active + 1,
      ArrowUp: active - 1,
      PageDown: active + page,
      PageUp: active - page,
      Home: 0,
      End: last,
    }[key];
    if (target === undefined || last < 0) return false;
    this.#sought = null;
    this.#forgetPlace();
    this.active = Math.min(Math.max(target, 0), last);
    this.#apply(this.#map.reveal(this.active, this.active === 0 ? 0 : this.rowHeight));
    this.#want();
    this.drawNow();
    return true;
  }

  #goToSought() {
    const found = this.#sought === null ? null : this.#keeper?.indexOf(this.#sought);
    if (typeof found === "number") this.goTo(found);
  }

  // Visible rows do not move when rows are added or removed above them; at the very top the top stays visible.
  #follow() {
    const now = new Map();
    const [first, end] = this.#map.visible;
    for (let index = Math.max(0, first - FOLLOWED); index < Math.min(this.#map.rows, end + FOLLOWED); index += 1) {
      const row = this.#keeper.row(index);
      if (row) now.set(rowKey(row), index);
    }
    const shift = commonShift(this.#shown, now);
    if (this.active !== null) this.active = shiftActive(this.active, this.#shown, now, shift);
    // More changes may come before these are drawn. The header of a group may be in no window.
    const kept = [...this.#shown].filter(([key]) => now.has(key) || isHeaderKey(key));
    this.#shown = new Map(kept.map(([key, index]) => [key, now.get(key) ?? index]));
    if (shift === 0 || this.#map.offset === 0) return;
    this.#map.shift(shift);
    this.#settleSoon();
  }

  #resizeRows(rows) {
    const { scroll, sizer } = this.#elements;
    // The reader may have scrolled since the last scroll event.
    this.#readScroll();
    this.#map.resize(rows, scroll.clientHeight || 1);
    const height = `${this.#map.height}px`;
    if (sizer.style.height !== height) sizer.style.height = height;
    this.#map.scrollTop = scroll.scrollTop;
    this.#returnToPlace();
  }

  #resize() {
    // Counts of a new connection come later; until then the list has the length that it had.
    this.#resizeRows(this.#keeper?.counts?.rows ?? this.#map.rows);
    this.#want();
    this.drawSoon();
  }

  #returnToPlace() {
    if (this.#place === null) return;
    if (this.#map.offset < this.#place) {
      this.#map.offset = Math.min(this.#place, this.#map.offsetMax);
      this.#settleSoon();
    } else if (this.#keeper?.counts) {
      this.#forgetPlace();
    }
  }

  #forgetPlace() {
    this.#place = null;
  }

  #endTimers() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#scrolling = false;
  }

  #apply(scrollTop) {
    this.#elements.scroll.scrollTop = scrollTop;
    this.#map.scrollTop = this.#elements.scroll.scrollTop;
  }

  #onScroll() {
    this.#scrolling = true;
    clearTimeout(this.#timers.over);
    this.#timers.over = setTimeout(() => this.#onScrollEnd(), SCROLL_OVER_MS);
    const jump = this.#readScroll();
    if (jump === null) return;
    this.#sought = null;
    this.#forgetPlace();
    if (jump) this.jumped();
    // While the scrollbar is dragged across the list, only rows where it rests are requested.
    clearTimeout(this.#timers.want);
    if (jump) this.#timers.want = setTimeout(() => this.#want(), JUMP_PAUSE_MS);
    else this.#want();
    if (!jump && this.#map.isStuck) this.#apply(this.#map.settle());
    this.drawNow();
  }

  /** Reads the scroll position of the element. Returns whether it was a jump, or null if it had not moved. */
  #readScroll() {
    const { scrollTop } = this.#elements.scroll;
    return Math.abs(scrollTop - this.#map.scrollTop) < 0.01 ? null : this.#map.scrolled(scrollTop);
  }

  #onScrollEnd() {
    this.#scrolling = false;
    this.#settleSoon();
  }

  // Only some time after the last scroll: a scroll under way would override the new position.
  #settleSoon() {
    clearTimeout(this.#timers.settle);
    this.#timers.settle = setTimeout(() => {
      if (this.#scrolling) return;
      this.#readScroll();
      this.#apply(this.#map.settle());
      this.#want();
      this.drawNow();
    }, IDLE_MS);
  }

  #want() {
    const [first, end] = this.#map.visible;
    this.#keeper?.want(first, end);
  }
}

/** Returns what stands in for elements while there are none. */
function standIn(scrollTop, clientHeight) {
  return { scroll: { scrollTop, clientHeight }, sizer: { style: {} } };
}
