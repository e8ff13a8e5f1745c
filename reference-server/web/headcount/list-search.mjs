// The search of a list: a window of the members whose names begin with a text. It does not touch the page.

import { isSearch, MalformedBundleError } from "./client.mjs";

/** Rows of a page of a search, set by the protocol. */
export const SEARCH_ROWS = 50;

/**
 * Holds the window of one search at a time, whose name the server tells. `client` holds the rows, `ask(search)` reaches
 * the server and resolves to a bundle, `take(bundle, request)` applies it, `close(name)` closes a window, `changed()`
 * is called when `found` differs, `isReady()` tells whether requests may be made. `former` is the search of the former
 * connection, which goes on if the client is the same.
 */
export class ListSearch {
  #client;
  #does;
  #wanted = null;
  #isPaused = false;
  #isAsking = false;
  #hasLeft = false;
  /** The search that was answered, and why it was refused. */
  #answered = null;
  #refusal = null;
  /** The name that its window had when it was last looked at. */
  #name = null;

  constructor(client, { ask, take, close, changed, isReady }, former = null) {
    this.#client = client;
    this.#does = { ask, take, close, changed, isReady };
    if (former?.#client !== client) return;
    this.#wanted = former.#wanted;
    // What was refused, or not answered in time, is asked again.
    if (former.#refusal !== null) return;
    this.#answered = former.#answered;
    this.#name = former.#name;
  }

  /**
   * Searches `{search, group?, page?}` in place of the former search, whose rows stay until others come; `null` ends
   * it.
   */
  want(wanted) {
    this.#wanted = wanted;
    this.run();
  }

  /**
   * What is found: `{search, group?, page?, rows, matches, first, error}`, or null before the first answer. `first` is
   * the index of the first row among all that are found; `group` has the name that it has by now; `error` is why the
   * server refused.
   */
  get found() {
    if (this.#answered === null) return null;
    const name = this.#current() ?? "";
    const { rows = [], matches = null, baseIndex: first = 0 } = this.#client.window(name) ?? {};
    const group = name.startsWith("r:") ? { group: name.split(":").slice(3).join(":") } : {};
    return { ...this.#answered, ...group, rows, matches, first, error: this.#refusal };
  }

  /** Whether a search waits for its answer. */
  get isAsking() {
    return this.#isAsking;
  }

  /** Makes the requests that are due, one at a time; a search that is wanted meanwhile waits, only the last one. */
  async run() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    while (this.#does.isReady() && this.#due() !== this.#answered) {
      const wanted = this.#due();
      if (wanted === null) this.#settle(null, null);
      else await this.#search(wanted);
    }
    this.#isAsking = false;
  }

  /** Closes windows that nobody wants: the server kept one whose answer was lost. Searches again if it has lost one. */
  tidy() {
    if (this.#isAsking) return;
    const isLost = this.#name !== null && this.#current() === null;
    this.#closeOthers();
    if (!isLost) return;
    this.#answered = null;
    this.run();
  }

  /** Closes also the window that has not arrived; there is no answer to wait for over a connection that is gone. */
  leave() {
    this.#hasLeft = true;
  }

  /** Closes the window until `resume`. */
  pause() {
    this.#isPaused = true;
    this.run();
  }

  resume() {
    this.#isPaused = false;
    this.run();
  }

  #due() {
    return this.#isPaused ? null : this.#wanted;
  }

  async #search(wanted) {
    const request = this.#client.request();
    let name = null;
    let refusal = null;
    try {
      const bundle = await this.#does.ask(wanted);
      name = nameIn(bundle);
      if (this.#hasLeft) this.#does.close(name);
      if (!this.#does.isReady()) return;
      this.#client.open(name, request);
      this.#does.take(bundle, request);
    } catch (error) {
      refusal = error;
    }
    if (this.#does.isReady()) this.#settle(wanted, name, refusal);
  }

  #settle(answered, name, refusal = null) {
    this.#answered = answered;
    this.#refusal = refusal;
    this.#name = name;
    this.#closeOthers();
    this.#does.changed();
  }

  #closeOthers() {
    this.#name = this.#current();
    for (const name of this.#names()) if (name !== this.#name) this.#does.close(name);
  }

  /** Returns the name that the window has by now: that of its group may be another one. Null if there is no window. */
  #current() {
    if (this.#name === null) return null;
    const names = this.#names();
    const renamed = names.find((name) => keyOf(name) === keyOf(this.#name)) ?? null;
    return names.includes(this.#name) ? this.#name : renamed;
  }

  #names() {
    return this.#client.names.filter(isSearch);
  }
}

/** Returns the name of the window that the server opened. */
function nameIn(bundle) {
  const name = bundle?.frames?.[0]?.window;
  if (isSearch(name)) return name;
  throw new MalformedBundleError("frames[0].window", "not a search");
}

/** Returns the kind, the prefix and the page of a search: all of its name but the group. */
function keyOf(name) {
  return name.split(":", 3).join(":");
}
