// The member sidebar: the rows of a VirtualList as elements of the page, its keys and pointer.

import { formatCount, h, paintAvatar, setNote } from "../dom.mjs";
import { groupTitle, RowPool, VirtualList } from "../headcount/index.mjs";

const ROW_PX = 40;
const POSITION_SHOWN_MS = 900;
const TYPED_MS = 900;
const SEEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

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
    this.#pool = new RowPool(elements.rows, (number) => new Row(number, this.#list));
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

/** One recycled row of the list. */
class Row {
  constructor(number, list) {
    this.list = list;
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

  show({ index, top, row, group, total }) {
    const { element } = this;
    element.hidden = false;
    element.style.top = `${top}px`;
    if (element.dataset.index !== String(index)) element.dataset.index = index;
    element.setAttribute("aria-posinset", index + 1);
    element.setAttribute("aria-setsize", total);
    this.#fill(row, group);
    this.#select(index === this.list.active);
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
      this.#paintName(null);
      this.said.textContent = "Loading";
    } else if (kind === "header") {
      const text = headerText(groupTitle(row.group), row.count);
      this.name.textContent = text;
      this.#paintName(null);
      this.said.textContent = "members";
    } else {
      this.#fillMember(row);
    }
  }

  // The colour of a role is mixed with that of the text, so that a name can be read on any background.
  #paintName(colour) {
    this.name.classList.toggle("coloured", colour !== null);
    if (colour === null) this.name.style.removeProperty("--role");
    else this.name.style.setProperty("--role", colour);
  }

  #fillMember({ id, body = {} }) {
    const { element } = this;
    const name = body.name ?? body.username ?? id;
    const status = body.status ?? "offline";
    const tag = body.simulated ? "simulated" : body.guest ? "guest" : "";
    paintAvatar(this.avatar, id, name);
    this.name.textContent = name;
    this.#paintName(body.colour ?? null);
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
