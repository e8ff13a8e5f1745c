// The hook of Phoenix LiveView: the LiveView itself is the viewer, and takes the requests as events.

import { refusal, RequestError } from "./channel.mjs";
import { groupTitle } from "./groups.mjs";
import { ListSession, pauseWhileHidden } from "./list-session.mjs";
import { RowPool } from "./row-pool.mjs";
import { VirtualList } from "./virtual-list.mjs";

const ANSWER_MAX_MS = 10_000;

/**
 * Returns a hook for `new LiveSocket(…, {hooks: {MemberList: memberListHook()}})`. `draw(element, {row, group, index,
 * total, isActive})` fills the element of a row; `row` is null until it arrives. While the element has `data-search`,
 * what is found covers the list.
 */
export function memberListHook({ draw = drawRow } = {}) {
  return {
    mounted() {
      this.memberList = new HookList(this, draw);
    },
    updated() {
      this.memberList.updated();
    },
    disconnected() {
      this.memberList.mark("reconnecting");
    },
    reconnected() {
      this.memberList.reconnected();
    },
    destroyed() {
      this.memberList.close();
    },
  };
}

/** The hook as it is, with rows drawn by `drawRow`. */
export const MemberListHook = memberListHook();

/** Fills the element of a row with a name and a status, or a group's title and count. */
export function drawRow(element, { row, isActive }) {
  const kind = row === null ? "loading" : row.id === undefined ? "header" : "member";
  element.dataset.kind = kind;
  element.classList.toggle("active", isActive);
  const { status = "", name, username } = row?.body ?? {};
  element.dataset.status = kind === "member" ? status : "";
  const texts = { loading: () => "", header: () => `${groupTitle(row.group)} — ${row.count}` };
  const text = texts[kind]?.() ?? String(name ?? username ?? row.id);
  if (element.textContent !== text) element.textContent = text;
}

/** The viewers of each LiveView or component, by the names of their lists. */
const viewers = new WeakMap();

function viewerOf(el, name) {
  const view = el.closest("[data-phx-component], [data-phx-session]") ?? el.ownerDocument;
  const named = viewers.get(view) ?? new Map();
  viewers.set(view, named);
  if (!named.has(name)) named.set(name, {});
  return named.get(name);
}

/** Returns whether the page makes an element a listbox: its rows are options then, else items of a list. */
function isListbox(el) {
  return el.getAttribute("role") === "listbox";
}

/** The list of one element. */
class HookList {
  #hook;
  #sizer;
  #rows;
  #list;
  #pool;
  #found;
  #session;
  #name = null;
  /** The search and the key to go to that were last stated. */
  #wanted = null;
  #sought = null;
  #stopPausing;
  #state = { name: "connecting", error: null };
  #isInComponent;

  constructor(hook, draw) {
    const { el } = hook;
    this.#hook = hook;
    this.#isInComponent = el.closest("[data-phx-component]") !== null;
    this.#sizer = el.ownerDocument.createElement("div");
    this.#rows = el.ownerDocument.createElement("div");
    Object.assign(this.#sizer.style, { position: "relative" });
    Object.assign(this.#rows.style, { position: "absolute", left: "0", right: "0" });
    if (!isListbox(el)) this.#rows.setAttribute("role", "list");
    this.#sizer.append(this.#rows);
    const rowHeight = Number(el.dataset.rowHeight) || undefined;
    this.#list = new VirtualList({ rowHeight, drawNow: () => this.#pool?.draw(this.#list.read()) });
    this.#pool = new RowPool(this.#rows, () => this.#makeRow(draw, (index) => index === this.#list.active));
    this.#found = new FoundRows(el, () => this.#makeRow(draw, () => false));
    el.append(this.#sizer);
    this.#describe();
    this.#list.attach({ scroll: el, sizer: this.#sizer });
    el.addEventListener("keydown", this.#onKey);
    hook.handleEvent("member_list", (bundle) => this.#push(bundle));
    this.#stopPausing = pauseWhileHidden({
      pause: () => this.#session.pause(),
      resume: () => this.#session.resume(),
    });
    this.#start();
  }

  /** Makes the element one that keys reach, unless the page states otherwise. */
  #describe() {
    const { el } = this.#hook;
    if (!el.hasAttribute("tabindex")) el.tabIndex = 0;
  }

  /** Shows the state of the list in the attributes of the element, for style sheets and tests. */
  mark(name, error = null) {
    this.#state = { name, error };
    const { el } = this.#hook;
    el.dataset.state = name;
    if (error) el.dataset.error = error.message;
    else delete el.dataset.error;
  }

  /** Takes up another `data-list`, `data-search` or `data-seek`, and puts back what a patch removed. */
  updated() {
    const { el } = this.#hook;
    this.#describe();
    this.#found.draw(this.#session.found, this.#list.rowHeight);
    if (this.#sizer.parentElement !== el) {
      el.append(this.#sizer);
      this.#list.attach({ scroll: el, sizer: this.#sizer });
    }
    this.mark(this.#state.name, this.#state.error);
    if ((el.dataset.list ?? null) !== this.#name) {
      this.#session.leave();
      this.#list.show(null);
      this.#start();
    } else this.#search();
    this.#seek();
  }

  reconnected() {
    this.#session.joined();
  }

  close() {
    this.#stopPausing();
    this.#hook.el.removeEventListener("keydown", this.#onKey);
    this.#session.leave();
    this.#list.close();
    this.#found.remove();
    this.#sizer.remove();
  }

  #start() {
    this.#name = this.#hook.el.dataset.list ?? null;
    this.#session = new ListSession({
      request: (verb, payload) => this.#request(verb, payload),
      view: this.#list,
      changed: () => this.#changed(),
      failed: (error) => this.mark("failed", error),
      viewer: viewerOf(this.#hook.el, this.#name),
    });
    this.mark("connecting");
    this.#wanted = null;
    this.#sought = null;
    this.#search();
    this.#found.draw(null);
    this.#session.joined();
    this.#seek();
  }

  /** Searches what the attributes say, if it is not what they said before. */
  #search() {
    const { search = "", searchGroup: group, searchPage } = this.#hook.el.dataset;
    const wanted = search === "" ? null : { search, ...(group && { group }), page: Number(searchPage) || 0 };
    if (JSON.stringify(wanted) === JSON.stringify(this.#wanted)) return;
    this.#wanted = wanted;
    this.#session.search(wanted);
  }

  #seek() {
    const { seek: key = null } = this.#hook.el.dataset;
    if (key === this.#sought) return;
    this.#sought = key;
    if (key !== null) this.#list.seek(key);
  }

  #changed() {
    const { found } = this.#session;
    const error = found?.error ?? null;
    this.mark(error ? "failed" : "open", error);
    this.#found.draw(found, this.#list.rowHeight);
    this.#list.changed();
  }

  // Every hook of a page gets every event.
  #push(bundle) {
    if (this.#name === null || bundle?.list === this.#name) this.#session.push(bundle);
  }

  // The answer is the map of `{:reply, map, socket}`; one with a `reason` is a refusal.
  #request(verb, payload) {
    const list = this.#name === null ? {} : { list: this.#name };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new RequestError("timeout")), ANSWER_MAX_MS);
      this.#pushEvent(verb, { ...payload, ...list }, (reply) => {
        clearTimeout(timer);
        if (reply?.reason === undefined) resolve(reply);
        else reject(refusal(reply));
      });
    });
  }

  // An element that was removed has no target any more. Its LiveView is told of the windows closed; a component, which
  // cannot be found without it, learns from its own rendering.
  #pushEvent(verb, payload, answered) {
    const { el } = this.#hook;
    if (el.isConnected) this.#hook.pushEventTo(el, verb, payload, answered);
    else if (!this.#isInComponent) this.#hook.pushEvent(verb, payload, answered);
  }

  #onKey = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (this.#list.press(event.key)) event.preventDefault();
  };

  #makeRow(draw, isActive) {
    const { el } = this.#hook;
    const element = el.ownerDocument.createElement("div");
    element.setAttribute("role", isListbox(el) ? "option" : "listitem");
    Object.assign(element.style, { position: "absolute", left: "0", right: "0" });
    return {
      element,
      hide: () => {
        element.hidden = true;
      },
      show: ({ index, top, row, group, total }) => {
        element.hidden = false;
        element.style.top = `${top}px`;
        element.style.height = `${this.#list.rowHeight}px`;
        element.setAttribute("aria-posinset", index + 1);
        element.setAttribute("aria-setsize", total);
        if (isListbox(el)) element.setAttribute("aria-selected", String(isActive(index)));
        draw(element, { row, group, index, total, isActive: isActive(index) });
      },
    };
  }
}

/** The rows that a search finds. They cover the view of the list, which keeps its place. */
class FoundRows {
  #el;
  #cover;
  #box;
  #rows;
  #pool;

  constructor(el, create) {
    this.#el = el;
    [this.#cover, this.#box, this.#rows] = Array.from({ length: 3 }, () => el.ownerDocument.createElement("div"));
    Object.assign(this.#cover.style, { position: "sticky", top: "0", height: "0", zIndex: "1" });
    Object.assign(this.#box.style, { overflowY: "auto", background: "Canvas" });
    this.#rows.style.position = "relative";
    this.#box.dataset.found = "";
    this.#box.tabIndex = 0;
    if (isListbox(el)) this.#box.setAttribute("role", "group");
    else this.#rows.setAttribute("role", "list");
    this.#box.append(this.#rows);
    this.#cover.append(this.#box);
    this.#pool = new RowPool(this.#rows, create);
  }

  /** Draws what a `ListSession` found, or uncovers the list. The number of matches is an attribute of the element. */
  draw(found, rowHeight) {
    if (found === null) delete this.#el.dataset.matches;
    else this.#el.dataset.matches = found.matches ?? "";
    if (found === null) return this.#cover.remove();
    if (this.#cover.parentElement !== this.#el) this.#el.prepend(this.#cover);
    // In all groups the headers among them are not counted.
    const total = found.group === undefined ? -1 : found.matches;
    const rows = found.rows.map((row, at) => ({ row, index: found.first + at, group: null }));
    this.#box.style.height = `${this.#el.clientHeight}px`;
    this.#rows.style.height = `${rows.length * rowHeight}px`;
    this.#pool.draw({ rows, from: 0, total, rowHeight });
  }

  remove() {
    this.#cover.remove();
  }
}
