// The member sidebar: a virtual list of any length over the windows of a WindowKeeper.

import { formatCount, h, paintAvatar, setNote } from "../dom.mjs";
import {
  commonShift,
  groupAt,
  groupTitle,
  isHeaderKey,
  layOut,
  rowKey,
  ScrollMap,
  shiftActive,
} from "../headcount/index.mjs";

export const ROW_PX = 40;
const OVERSCAN = 8;
const IDLE_MS = 1000;
/** Without a `scrollend` event, scrolling counts as ended after this long without a scroll event. */
const SCROLL_OVER_MS = 600;
const JUMP_PAUSE_MS = 90;
const POSITION_SHOWN_MS = 900;
/** For so long after a reconnect the reader's place is kept, and after a jump its row is sought: the list may fill. */
const PLACE_KEPT_MS = 10_000;
const TYPED_MS = 900;
const SEEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Draws the member list of one room at a time. `elements` are the parts of the panel in page.html. */
export class MemberPanel {
  #keeper = null;
  #map = new ScrollMap(ROW_PX);
  #pool = [];
  #shown = new Map();
  #active = null;
  #timers = {};
  #frame = null;
  #typed = "";
  #sought = null;
  /** The distance from the top to return to after a reconnect, until the list reaches it or the reader scrolls. */
  #place = null;
  #scrolling = false;

  /** `typed(text, group)` is called when letters are typed into the list, with the group of the active row. */
  constructor(elements, { typed }) {
    this.elements = elements;
    this.typed = typed;
    /** The groups with rows, as `layOut` places them. */
    this.groups = [];
    const { scroll } = elements;
    scroll.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    scroll.addEventListener("scrollend", () => this.#onScrollEnd(), { passive: true });
    scroll.addEventListener("keydown", (event) => this.#onKey(event));
    scroll.addEventListener("focus", () => this.#onFocus());
    scroll.addEventListener("blur", () => this.#drawSoon());
    scroll.addEventListener("pointerdown", (event) => this.#onPointer(event));
    new ResizeObserver(() => this.#resize()).observe(scroll);
  }

  /** Shows another list from its top, or none. */
  show(keeper) {
    this.#keeper = keeper;
    this.groups = [];
    this.#shown.clear();
    this.#active = null;
    this.#sought = null;
    this.#place = null;
    this.#map = new ScrollMap(ROW_PX);
    this.elements.scroll.scrollTop = 0;
    this.note(keeper ? "Loading members…" : "");
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

  /** Draws changed rows and counts. */
  changed() {
    const { counts } = this.#keeper;
    if (!counts) return;
    this.note(counts.rows === 0 ? "Nobody here yet." : "");
    this.groups = layOut(counts);
    this.#resizeRows(counts.rows);
    this.#follow();
    this.#goToSought();
    this.elements.count.textContent = formatCount(counts.members);
    this.#want();
    this.#drawSoon();
  }

  /** Shows a message in place of the list. */
  note(text) {
    setNote(this.elements.note, text);
  }

  /** The length of the list. */
  get rows() {
    return this.#map.rows;
  }

  /** Puts the row at an index at the top of the view and makes it the active one. */
  goTo(index) {
    this.#sought = null;
    this.#forgetPlace();
    this.#active = index;
    const isHeader = this.groups.some(({ first }) => first === index) || this.#keeper.row(index)?.group !== undefined;
    this.#apply(this.#map.goTo(isHeader ? index : index - 1));
    this.#want();
    this.#draw();
  }

  /** Does the same for the row of a key (see `rowKey`), which is expected at an index or near it. */
  async seek(key, index) {
    this.goTo(index);
    // Until it is found, the reader goes elsewhere, or it was long ago.
    this.#sought = key;
    clearTimeout(this.#timers.sought);
    this.#timers.sought = setTimeout(() => {
      this.#sought = null;
    }, PLACE_KEPT_MS);
    await this.#keeper.reach(key);
    this.#goToSought();
  }

  #goToSought() {
    const found = this.#sought === null ? null : this.#keeper.indexOf(this.#sought);
    if (found !== null) this.goTo(found);
  }

  // Visible rows do not move when rows are added or removed above them; at the very top the top stays visible.
  #follow() {
    const now = new Map();
    const [first, end] = this.#map.visible;
    const reach = 200;
    for (let index = Math.max(0, first - reach); index < Math.min(this.#map.rows, end + reach); index += 1) {
      const row = this.#keeper.row(index);
      if (row) now.set(rowKey(row), index);
    }
    const shift = commonShift(this.#shown, now);
    if (this.#active !== null) this.#active = shiftActive(this.#active, this.#shown, now, shift);
    // More changes may come before these are drawn. The header of a group may be in no window.
    const kept = [...this.#shown].filter(([key]) => now.has(key) || isHeaderKey(key));
    this.#shown = new Map(kept.map(([key, index]) => [key, now.get(key) ?? index]));
    if (shift === 0 || this.#map.offset === 0) return;
    this.#map.shift(shift);
    this.#settleSoon();
  }

  #resizeRows(rows) {
    const { scroll, sizer } = this.elements;
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
    this.#drawSoon();
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

  #apply(scrollTop) {
    this.elements.scroll.scrollTop = scrollTop;
    this.#map.scrollTop = this.elements.scroll.scrollTop;
  }

  #onScroll() {
    this.#scrolling = true;
    clearTimeout(this.#timers.over);
    this.#timers.over = setTimeout(() => this.#onScrollEnd(), SCROLL_OVER_MS);
    const jump = this.#readScroll();
    if (jump === null) return;
    this.#sought = null;
    this.#forgetPlace();
    if (jump) this.#showPosition();
    // While the scrollbar is dragged across the list, only rows where it rests are requested.
    clearTimeout(this.#timers.want);
    if (jump) this.#timers.want = setTimeout(() => this.#want(), JUMP_PAUSE_MS);
    else this.#want();
    if (!jump && this.#map.isStuck) this.#apply(this.#map.settle());
    this.#draw();
  }

  /** Reads the scroll position of the element. Returns whether it was a jump, or null if it had not moved. */
  #readScroll() {
    const { scrollTop } = this.elements.scroll;
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
      this.#draw();
    }, IDLE_MS);
  }

  #want() {
    const [first, end] = this.#map.visible;
    this.#keeper?.want(first, end);
  }

  #showPosition() {
    const { position } = this.elements;
    const { rows, offset, offsetMax } = this.#map;
    const [first] = this.#map.visible;
    const percent = offsetMax === 0 ? 0 : Math.round((offset / offsetMax) * 100);
    position.textContent = `${formatCount(first + 1)} of ${formatCount(rows)} · ${percent} %`;
    position.hidden = false;
    clearTimeout(this.#timers.position);
    this.#timers.position = setTimeout(() => {
      position.hidden = true;
    }, POSITION_SHOWN_MS);
  }

  #onFocus() {
    if (this.#active === null && this.#map.rows > 0) this.#active = this.#map.visible[0];
    this.#drawSoon();
  }

  #onPointer(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    this.#active = Number(row.dataset.index);
    this.#drawSoon();
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return undefined;
    if (event.key.length === 1 && /[\p{L}\p{N}]/u.test(event.key)) return this.#onType(event.key);
    const last = this.#map.rows - 1;
    const page = Math.max(1, Math.floor(this.#map.viewHeight / ROW_PX) - 2);
    const active = this.#active ?? this.#map.visible[0];
    const target = {
      ArrowDown: active + 1,
      ArrowUp: active - 1,
      PageDown: active + page,
      PageUp: active - page,
      Home: 0,
      End: last,
    }[event.key];
    if (target === undefined || last < 0) return undefined;
    event.preventDefault();
    this.#sought = null;
    this.#forgetPlace();
    this.#active = Math.min(Math.max(target, 0), last);
    this.#apply(this.#map.reveal(this.#active, this.#active === 0 ? 0 : ROW_PX));
    this.#want();
    this.#draw();
    return undefined;
  }

  // Letters typed in quick succession are the prefix of a name.
  #onType(letter) {
    this.#typed += letter;
    clearTimeout(this.#timers.typed);
    this.#timers.typed = setTimeout(() => {
      this.#typed = "";
    }, TYPED_MS);
    // A header names its group itself: counts come once a second, rows sooner.
    const active = this.#active ?? 0;
    const header = this.#keeper?.row(active)?.group;
    this.typed(this.#typed, header ?? groupAt(this.groups, active)?.group ?? null);
  }

  #drawSoon() {
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = null;
    const { rows: container, scroll } = this.elements;
    const [first, end] = this.#map.visible;
    const from = Math.max(0, first - OVERSCAN);
    const to = Math.min(this.#map.rows, end + OVERSCAN);
    const size = to - from;
    while (this.#pool.length < size) {
      const row = new Row(this.#pool.length);
      this.#pool.push(row);
      container.append(row.element);
    }
    container.style.top = `${this.#map.layoutTop(from)}px`;
    this.#shown.clear();
    const focused = document.activeElement === scroll;
    let activeId = null;
    this.#pool.forEach((slot, s) => {
      // A slot keeps the rows whose index leaves the same remainder, so that scrolling by one row redraws one row.
      const n = this.#pool.length;
      const index = from + ((((s - from) % n) + n) % n);
      if (index >= to) return slot.hide();
      const row = this.#keeper?.row(index) ?? null;
      const group = groupAt(this.groups, index);
      // A header's index and count are known before its window is.
      const known = row ?? (group?.first === index ? group : null);
      if (known && index >= first && index < end) this.#shown.set(rowKey(known), index);
      const active = index === this.#active;
      if (active && focused) activeId = slot.element.id;
      slot.show({ index, row: known, from, total: this.#map.rows, group, active });
      return undefined;
    });
    if (activeId) scroll.setAttribute("aria-activedescendant", activeId);
    else scroll.removeAttribute("aria-activedescendant");
    this.#drawSticky(first);
  }

  // The current group's header stays at the top and is pushed out by the next one.
  #drawSticky(first) {
    const { sticky } = this.elements;
    const group = groupAt(this.groups, first);
    sticky.hidden = !group || this.#map.offset <= group.first * ROW_PX;
    if (sticky.hidden) return;
    const text = headerText(group.name, group.count);
    if (sticky.textContent !== text) sticky.textContent = text;
    const next = (group.first + group.rows) * ROW_PX - this.#map.offset;
    sticky.style.translate = `0 ${Math.min(0, next - ROW_PX)}px`;
  }
}

/** One recycled row of the list. */
class Row {
  constructor(number) {
    this.avatar = h("span", { class: "avatar", "aria-hidden": "true" });
    this.dot = h("i", { class: "status", "aria-hidden": "true" });
    this.name = h("bdi", { class: "row-name" });
    this.tag = h("span", { class: "tag" });
    this.said = h("span", { class: "hidden" });
    this.element = h(
      "div",
      { class: "row", id: `member-row-${number}`, role: "option" },
      this.avatar,
      this.dot,
      this.name,
      " ",
      this.tag,
      " ",
      this.said,
    );
    this.signature = null;
  }

  hide() {
    this.element.hidden = true;
    this.#select(false);
  }

  #select(active) {
    this.element.classList.toggle("active", active);
    this.element.setAttribute("aria-selected", String(active));
  }

  show({ index, row, from, total, group, active }) {
    const { element } = this;
    element.hidden = false;
    element.style.top = `${(index - from) * ROW_PX}px`;
    if (element.dataset.index !== String(index)) element.dataset.index = index;
    element.setAttribute("aria-posinset", index + 1);
    element.setAttribute("aria-setsize", total);
    this.#fill(row, group);
    this.#select(active);
  }

  #fill(row, group) {
    const kind = row === null ? "skeleton" : row.id === undefined ? "header" : "member";
    const signature =
      kind === "skeleton"
        ? kind
        : kind === "header"
          ? `${row.group}|${row.count}`
          : `${row.id}|${row.revision}|${group?.group}`;
    if (signature === this.signature) return;
    this.signature = signature;
    const { element } = this;
    element.className = `row ${kind === "header" ? "group-row" : kind}`;
    element.title = "";
    if (kind === "skeleton") {
      this.name.textContent = "";
      this.said.textContent = "Loading";
    } else if (kind === "header") {
      const text = headerText(groupTitle(row.group), row.count);
      this.name.textContent = text;
      this.said.textContent = "members";
    } else {
      this.#fillMember(row);
    }
  }

  #fillMember({ id, body = {} }) {
    const { element } = this;
    const name = body.name ?? body.username ?? id;
    const status = body.status ?? "offline";
    const tag = body.simulated ? "simulated" : body.guest ? "guest" : "";
    paintAvatar(this.avatar, id, name);
    this.name.textContent = name;
    this.dot.dataset.status = status;
    this.tag.textContent = tag;
    this.tag.hidden = !tag;
    element.dataset.status = status;
    const seen = new Date(body.last_seen_at ?? "");
    element.title = Number.isFinite(seen.getTime()) ? `Last seen ${SEEN.format(seen)}` : "";
    this.said.textContent = groupTitle(status);
  }
}

function headerText(name, count) {
  return `${name} — ${formatCount(count)}`;
}
