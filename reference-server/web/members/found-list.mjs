// The members whose names begin with the text in the box over the list, live: a list below the box.

import { byId, formatCount } from "../dom.mjs";
import { RowPool, SEARCH_ROWS } from "../headcount/index.mjs";
import { MemberRow, ROW_PX } from "./member-row.mjs";

/** A text is searched when nothing was typed for so long. */
const TYPING_PAUSE_MS = 150;

/** Says how many members a search finds, or why it was refused. */
export function foundText({ search, matches, error, page = 0 }, hasMore) {
  if (matches === null) return error?.message ?? "";
  if (matches === 0) return `Nobody's name begins with “${search}”.`;
  const members = matches === 1 ? "member" : "members";
  return `${formatCount(matches)} ${members} found${page > 0 || hasMore ? `, page ${page + 1}` : ""}`;
}

/** Returns whether there may be a page behind the one that is shown. */
export function hasNextPage({ rows, matches, page = 0 }) {
  const members = rows.filter(({ id }) => id !== undefined).length;
  return rows.length === SEARCH_ROWS && !(page === 0 && members === matches);
}

/**
 * Shows what is found for `input`, whose arrow keys move through it. `source` searches: it has the methods `search` and
 * `found` of a ListSession. `choose(id)` is called for the member that is picked, `note(text)` when there is news.
 */
export class FoundList {
  #text = "";
  #timer = null;
  #activeId = null;
  #noted = null;
  #drawn = null;
  #pool;

  constructor(input, { source, choose, note }) {
    Object.assign(this, { input, source, choose, note });
    this.box = byId("found");
    this.list = byId("found-list");
    this.rows = byId("found-rows");
    this.pages = byId("found-pages");
    this.previous = byId("found-previous");
    this.next = byId("found-next");
    /** The index of the active match, or null. */
    this.active = null;
    this.#pool = new RowPool(this.rows, (number) => new MemberRow(`found-row-${number}`, this));
    input.addEventListener("keydown", (event) => this.#onKey(event));
    // The focus stays in the box.
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => this.#onClick(event));
    this.previous.addEventListener("click", () => this.#turn(-1));
    this.next.addEventListener("click", () => this.#turn(1));
  }

  /** Searches a text once typing pauses; an empty one ends the search. */
  look(text) {
    if (text === this.#text) return;
    this.#text = text;
    this.#activeId = null;
    this.#noted = null;
    clearTimeout(this.#timer);
    if (text === "") this.#search(null);
    else this.#timer = setTimeout(() => this.#search({ search: text, page: 0 }), TYPING_PAUSE_MS);
  }

  /** Picks the active match. Returns whether there is one. */
  enter() {
    if (this.active === null) return false;
    this.choose(this.#activeId);
    return true;
  }

  /** Draws what is found by now. */
  draw() {
    const found = this.#text === "" ? null : this.source.found();
    this.box.hidden = !found || found.rows.length + (found.page ?? 0) === 0;
    this.input.setAttribute("aria-expanded", String(!this.box.hidden));
    if (found) this.#fill(found);
    else this.active = null;
    const active = this.active === null ? null : this.rows.querySelector(".active:not([hidden])");
    if (active) this.input.setAttribute("aria-activedescendant", active.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #fill(found) {
    const { rows, first, search, page = 0 } = found;
    const at = rows.findIndex(({ id }) => id !== undefined && id === this.#activeId);
    this.active = at < 0 ? null : first + at;
    const hasMore = hasNextPage(found);
    const drawn = rows.map((row, index) => ({ index: first + index, top: index * ROW_PX, row, group: null }));
    // How many rows there are on all pages is not known.
    const total = page > 0 || hasMore ? -1 : rows.length;
    this.#pool.draw({ rows: drawn, from: 0, total, rowHeight: ROW_PX });
    this.rows.style.height = `${rows.length * ROW_PX}px`;
    this.pages.hidden = page === 0 && !hasMore;
    this.previous.disabled = page === 0;
    this.next.disabled = !hasMore;
    if (this.#drawn !== `${page} ${search}`) this.list.scrollTop = 0;
    this.#drawn = `${page} ${search}`;
    const text = foundText(found, hasMore);
    if (search === this.#text && text !== this.#noted) this.note(text);
    if (search === this.#text) this.#noted = text;
  }

  #search(wanted) {
    this.source.search(wanted);
    this.draw();
  }

  #turn(by) {
    const found = this.source.found();
    if (found) this.#search({ search: found.search, page: (found.page ?? 0) + by });
  }

  #onClick(event) {
    const row = event.target.closest(".row.member");
    if (!row) return;
    const { rows, first } = this.source.found();
    this.#activeId = rows[Number(row.dataset.index) - first].id;
    this.draw();
    this.enter();
  }

  // From the last match the arrow goes on to the first one, and back.
  #onKey(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by === undefined || this.box.hidden) return;
    event.preventDefault();
    const ids = this.source.found().rows.flatMap(({ id }) => id ?? []);
    const at = ids.indexOf(this.#activeId);
    this.#activeId = ids.at(at < 0 && by < 0 ? -1 : (at + by) % ids.length) ?? null;
    this.draw();
    this.rows.querySelector(".active:not([hidden])")?.scrollIntoView({ block: "nearest" });
  }
}
