// Lists that share one viewer: its server knows the channel, and not which list of a page asked.

import { isSearch } from "./client.mjs";

/** The sessions of each viewer, by the object that stands for it. */
const sessions = new WeakMap();

/**
 * Reaches the server for one session of a viewer: a window that another session holds stays open, and every session
 * gets the answers of all, as it gets the bundles that the server pushes. `session` has `names()`,
 * `isSearching()` and `push(bundle)`; `viewer` is any object, the same one for all sessions of the viewer.
 */
export class ViewerShare {
  #session;
  #all;

  constructor(viewer, session) {
    this.#session = session;
    this.#all = sessions.get(viewer) ?? new Set();
    sessions.set(viewer, this.#all);
    this.#all.add(session);
  }

  /** Makes a request. `send(verb, payload)` reaches the server. */
  async request(send, verb, payload) {
    const { from, window } = payload;
    if (verb === "member_list_close" && this.#isHeld(window)) return {};
    const staysOpen = verb === "member_list_move" && this.#isHeld(from);
    const answer = await (staysOpen ? send("member_list_open", { window }) : send(verb, payload));
    if (Array.isArray(answer?.frames)) for (const other of this.#others()) other.push(answer);
    return this.own(answer);
  }

  /** Returns a bundle without the windows that only other sessions hold. */
  own(bundle) {
    if (!Array.isArray(bundle?.windows)) return bundle;
    const names = this.#session.names();
    const isOwn = (name) => names.includes(name) || !this.#isHeld(name);
    const windows = bundle.windows.filter((said) => isOwn(said?.window ?? said));
    return windows.length < bundle.windows.length ? { ...bundle, windows } : bundle;
  }

  /** Ends the part of the session. */
  end() {
    this.#all.delete(this.#session);
  }

  #others() {
    return [...this.#all].filter((other) => other !== this.#session);
  }

  // The answer to a search names its window.
  #isHeld(name) {
    return this.#others().some((other) => other.names().includes(name) || (isSearch(name) && other.isSearching()));
  }
}
