// The member sidebar: the rows of a VirtualList as elements of the page, its keys and pointer.

import { formatCount, setNote } from "../dom.mjs";
import { RowPool, VirtualList } from "../headcount/index.mjs";
import { headerText, MemberRow, ROW_PX } from "./member-row.mjs";

const POSITION_SHOWN_MS = 900;
const TYPED_MS = 900;

/** Draws the member list of one room at a time. `elements` are the parts of the panel in page.html. */
export class MemberPanel {
  #list;
  #pool;
  #timers = {};
  #frame = null;
  #typed = "";

  /** `typed(text, group)` is called when letters are typed into the list, with the group of the active row. */
  constructor(elements, { typed }) {
    this.elements = elements;
    this.typed = typed;
    this.#list = new VirtualList({
      rowHeight: ROW_PX,
      drawNow: () => this.#draw(),
      drawSoon: () => this.#drawSoon(),
      jumped: () => this.#showPosition(),
    });
    this.#pool = new RowPool(elements.rows, (number) => new MemberRow(`member-row-${number}`, this.#list));
    const { scroll } = elements;
    this.#list.attach(elements);
    scroll.addEventListener("keydown", (event) => this.#onKey(event));
    scroll.addEventListener("focus", () => this.#list.activate());
    scroll.addEventListener("blur", () => this.#drawSoon());
    scroll.addEventListener("pointerdown", (event) => this.#onPointer(event));
  }

  /** Shows another list from its top, or none. */
  show(keeper) {
    this.note(keeper ? "Loading members…" : "");
    this.#list.show(keeper);
  }

  /** Shows the same list over a new connection: visible rows do not move, even if the list is short at first. */
  reconnected(keeper) {
    this.#list.reconnected(keeper);
  }

  /** Draws changed rows and counts. */
  changed(counts) {
    if (!counts) return;
    this.note(counts.rows === 0 ? "Nobody here yet." : "");
    this.elements.count.textContent = formatCount(counts.members);
    this.#list.changed();
  }

  /** Shows a message in place of the list. */
  note(text) {
    setNote(this.elements.note, text);
  }

  /** The length of the list. */
  get rows() {
    return this.#list.rows;
  }

  /** The groups with rows, as `layOut` places them. */
  get groups() {
    return this.#list.groups;
  }

  /** Puts the row at an index at the top of the view and makes it the active one. */
  goTo(index) {
    this.#list.goTo(index);
  }

  /** Does the same for the row of a key (see `rowKey`), which is expected at an index or near it. */
  seek(key, index) {
    return this.#list.seek(key, index);
  }

  #showPosition() {
    const { position } = this.elements;
    const { first, rows, percent } = this.#list.position;
    position.textContent = `${formatCount(first + 1)} of ${formatCount(rows)} · ${percent} %`;
    position.hidden = false;
    clearTimeout(this.#timers.position);
    this.#timers.position = setTimeout(() => {
      position.hidden = true;
    }, POSITION_SHOWN_MS);
  }

  #onPointer(event) {
    const row = event.target.closest(".row");
    if (row) this.#list.activate(Number(row.dataset.index));
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key.length === 1 && /[\p{L}\p{N}]/u.test(event.key)) this.#onType(event.key);
    else if (this.#list.press(event.key)) event.preventDefault();
  }

  // Letters typed in quick succession are the prefix of a name.
  #onType(letter) {
    this.#typed += letter;
    clearTimeout(this.#timers.typed);
    this.#timers.typed = setTimeout(() => {
      this.#typed = "";
    }, TYPED_MS);
    this.typed(this.#typed, this.#list.activeGroup);
  }

  #drawSoon() {
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = null;
    const drawing = this.#list.read();
    this.#pool.draw(drawing);
    const { scroll, rows } = this.elements;
    const active = document.activeElement === scroll ? rows.querySelector(".active:not([hidden])") : null;
    if (active) scroll.setAttribute("aria-activedescendant", active.id);
    else scroll.removeAttribute("aria-activedescendant");
    this.#drawSticky(drawing.header);
  }

  // The current group's header stays at the top and is pushed out by the next one.
  #drawSticky(header) {
    const { sticky } = this.elements;
    sticky.hidden = header === null;
    if (sticky.hidden) return;
    const text = headerText(header.name, header.count);
    if (sticky.textContent !== text) sticky.textContent = text;
    sticky.style.translate = `0 ${header.top}px`;
  }
}
