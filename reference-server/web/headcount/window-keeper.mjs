// The windows of a member list to hold for the visible rows. It does not touch the page.

import { MalformedBundleError } from "./client.mjs";
import { rowKey } from "./groups.mjs";
import { ListSearch } from "./list-search.mjs";

/** Rows of a chunk window, set by the protocol. */
export const CHUNK = 100;

/** Rows on each side of an anchor. */
const REACH = 120;
/** Rows beyond the view to load before they are visible. */
const MARGIN = 25;
/** Above this row the chunks, which all viewers share, cost less than a window of our own. */
const TOP_ZONE = 300;
/** A request without an answer for this long is repeated. */
const PATIENCE_MS = 10_000;
/** The pause before a refused request is repeated. */
const RETRY_MS = 1000;
/** The longest pause before windows are requested again because bundles were malformed, in steps of `RETRY_MS`. */
const MALFORMED_MAX = 32;

/**
 * Holds chunk windows near the top of the list, one anchored window further down, and chunks for the moment after a
 * jump, when there is no row yet to anchor to. `client` holds the rows (client.mjs), `request(verb, payload)`
 * reaches the server and resolves to a bundle, `changed()` is called after every bundle, `failed(error)` after a
 * refusal; one with `retryAfterMs` is repeated by itself. It is called with a `MalformedBundleError` as well: the rows
 * stay, and all windows are requested again. `former` is the keeper of the former connection, whose search goes on.
 */
export class WindowKeeper {
  #client;
  #request;
  #changed;
  #failed;
  #asked = new Map();
  #first = 0;
  #end = 0;
  #paused = false;
  #closed = false;
  /** True until the answer to a resume: it says which windows there are. */
  #resuming = false;
  /** Malformed bundles in a row, and the timer of the request that follows them. */
  #malformed = 0;
  #mending = null;
  #search;

  constructor({ client, request, changed, failed = () => {}, former = null }) {
    this.#client = client;
    this.#request = request;
    this.#changed = changed;
    this.#failed = failed;
    const does = {
      ask: (search) => this.#requestInTurn("member_list_search", search),
      take: (bundle, number) => this.push(bundle, number),
      close: (name) => this.#close(name),
      changed,
      isReady: () => !this.#closed && !this.#resuming,
    };
    this.#search = new ListSearch(client, does, former?.#search);
  }

  /** The list's counts, or null before the first bundle. */
  get counts() {
    return this.#client.counts;
  }

  /** Returns the row at an absolute index, or null if no window holds it. */
  row(index) {
    const view = this.#views().find(({ start, end }) => start <= index && index < end);
    return view?.at(index) ?? null;
  }

  /** Returns whether every row of `[first, end)` is held. */
  holds(first, end) {
    const views = this.#views();
    for (let index = first; index < end;) {
      const view = views.find((other) => other.start <= index && index < other.end);
      if (!view) return false;
      index = view.end;
    }
    return true;
  }

  /** The names of the windows that are held or were requested. */
  get names() {
    return this.#client.names;
  }

  /** Whether a search waits for its answer, which names its window. */
  get isSearching() {
    return this.#search.isAsking;
  }

  /** Opens, moves and closes windows for the visible rows `[first, end)`. */
  want(first, end) {
    this.#first = first;
    this.#end = end;
    if (this.#closed || this.#paused || this.#resuming) return;
    const total = this.counts?.rows ?? 0;
    if (!this.counts) this.#open(`c:${Math.floor(first / CHUNK)}`);
    else if (total > 0) this.#arrange(Math.max(0, first - MARGIN), Math.min(total, end + MARGIN));
  }

  /** Finds names that begin with `prefix`: `[{group, index, id}]`, the first of each group. */
  async find(prefix) {
    const { matches } = await this.#request("member_list_find", { prefix });
    return matches;
  }

  /**
   * Searches the members whose names begin with a text, live: `{search, group?, page?}`, in place of the former search;
   * `null` ends it. Refusals are in `found`.
   */
  search(wanted) {
    this.#search.want(wanted);
  }

  /** What is found (see `ListSearch`), or null: there is no search, or no answer yet. */
  get found() {
    return this.#search.found;
  }

  /** Brings the row of this key (see `rowKey`) into a window, if there is such a row. */
  async reach(key) {
    const window = `${key.replace(/^m:/, "a:")}:${REACH}:${REACH}`;
    const old = this.#views().find(({ name }) => !isChunk(name));
    if (old?.name !== window) await this.#anchorTo(window, old, `reach ${key}`);
  }

  /**
   * Returns the index at which `row` has the row of this key, else null. Places of an anchored window come once a
   * second, so for a moment two windows may differ.
   */
  indexOf(key) {
    for (const { start, end, at } of this.#views()) {
      for (let index = start; index < end; index += 1) {
        if (rowKey(at(index)) === key && rowKey(this.row(index)) === key) return index;
      }
    }
    return null;
  }

  /**
   * Resumes the windows that the client holds, over a connection that just began. Resolves to false if the server
   * refuses it or does not answer, to true otherwise.
   */
  async reconnect() {
    const { request, held } = this.#client.reconnect();
    this.#resuming = true;
    let bundle;
    try {
      bundle = await this.#requestInTurn("member_list_resume", { held });
    } catch {
      return this.#closed;
    }
    this.#resuming = false;
    this.push(bundle, request);
    this.want(this.#first, this.#end);
    this.#search.run();
    return true;
  }

  /** Applies a bundle: one that the server pushed, or the answer to the client's request of this number. */
  push(bundle, request = null) {
    // Until the answer to a resume the client takes nothing, and has no counts.
    if (this.#closed || this.#resuming) return;
    const asks = this.#apply(bundle, request);
    if (asks === null) return;
    for (const windows of asks) this.#ask(`resync ${windows.join(" ")}`, "member_list_resync", { windows });
    this.#search.tidy();
    this.#changed();
  }

  // A server that keeps sending such bundles is asked less and less often.
  #apply(bundle, request) {
    try {
      const asks = this.#client.apply(bundle, request);
      this.#malformed = 0;
      return asks;
    } catch (error) {
      if (!(error instanceof MalformedBundleError)) throw error;
      this.#mending ??= setTimeout(() => this.#mend(), RETRY_MS * Math.min(2 ** this.#malformed, MALFORMED_MAX));
      this.#malformed += 1;
      this.#failed(error);
      return null;
    }
  }

  #mend() {
    this.#mending = null;
    const windows = this.#client.names;
    if (windows.length > 0) this.#ask("mend", "member_list_resync", { windows });
  }

  /** Closes the windows while the list is hidden; the server goes on sending counts. */
  pause() {
    this.#paused = true;
    this.#closeOthers(() => false);
    this.#search.pause();
  }

  resume() {
    if (!this.#paused) return;
    this.#paused = false;
    this.want(this.#first, this.#end);
    this.#search.resume();
  }

  /** Ends all requests and changes. */
  close() {
    this.#closed = true;
    clearTimeout(this.#mending);
  }

  /** Ends them and closes all windows, also those that have not arrived. */
  leave() {
    for (const name of this.#client.names) this.#close(name);
    this.#search.leave();
    this.close();
  }

  #arrange(from, to) {
    if (from < TOP_ZONE) {
      for (let k = Math.floor(from / CHUNK); k * CHUNK < to; k += 1) this.#open(`c:${k}`);
      // The anchored window is closed when the chunks have arrived.
      if (this.holds(from, to)) this.#keepOnly((view) => isNear(view, from, to));
      return;
    }
    const anchors = this.#views().filter((view) => !isChunk(view.name));
    const whole = anchors.find((view) => view.start <= from && view.end >= to);
    const anchored = whole ?? anchors[0];
    if (whole) {
      this.#keepOnly((view) => view.name === whole.name);
    } else if (this.holds(this.#first, this.#end)) {
      this.#anchor(anchored);
    } else {
      const last = Math.max(this.#first, this.#end - 1);
      for (let k = Math.floor(this.#first / CHUNK); k * CHUNK <= last; k += 1) this.#open(`c:${k}`);
      this.#keepOnly((view) => isNear(view, from, to));
    }
  }

  // Anchors to the row in the middle of the view; the rows of the old window stay until the new ones arrive.
  #anchor(old) {
    const row = this.row(Math.floor((this.#first + this.#end) / 2));
    if (!row) return;
    const reach = `${REACH}:${REACH}`;
    const window = row.id === undefined ? `g:${row.group}:${reach}` : `a:${row.id}:${reach}`;
    if (!this.#client.names.includes(window)) this.#anchorTo(window, old, "anchor");
  }

  #anchorTo(window, old, kind) {
    if (old) return this.#ask(kind, "member_list_move", { from: old.name, window });
    return this.#ask(kind, "member_list_open", { window });
  }

  #open(name) {
    if (this.#client.names.includes(name)) return;
    this.#ask(`open ${name}`, "member_list_open", { window: name });
  }

  // The windows that are left may have the same rows at other places.
  #keepOnly(keep) {
    if (this.#views().every(keep)) return;
    this.#closeOthers(keep);
    this.#changed();
  }

  #closeOthers(keep) {
    for (const view of this.#views()) {
      if (!keep(view)) this.#close(view.name);
    }
  }

  #close(window) {
    this.#client.expect("member_list_close", { window });
    this.#request("member_list_close", { window }).catch(() => {});
  }

  // One request of a kind at a time; the next `want` finds the windows wanted by the time of the answer.
  async #ask(kind, verb, payload) {
    const now = Date.now();
    if (now - (this.#asked.get(kind) ?? -Infinity) < PATIENCE_MS) return;
    this.#asked.set(kind, now);
    this.#client.expect(verb, payload);
    const request = this.#client.request();
    try {
      const bundle = await this.#requestInTurn(verb, payload);
      this.#asked.delete(kind);
      this.push(bundle, request);
    } catch (error) {
      // The client may be in use over another connection by now.
      if (this.#closed) return;
      for (const name of payload.windows ?? [payload.window]) this.#client.close(name);
      this.#search.tidy();
      this.#failed(error);
      setTimeout(() => this.#asked.delete(kind), RETRY_MS);
    }
  }

  // A reader who scrolls fast waits for the rate that the server allows.
  async #requestInTurn(verb, payload) {
    for (;;) {
      try {
        return await this.#request(verb, payload);
      } catch (error) {
        if (this.#closed || !(error.retryAfterMs > 0)) throw error;
        await new Promise((wake) => setTimeout(wake, error.retryAfterMs));
        if (this.#closed) throw error;
      }
    }
  }

  #views() {
    return this.#client.views();
  }
}

function isChunk(name) {
  return name.startsWith("c:");
}

function isNear(view, from, to) {
  return view.end > from - CHUNK && view.start < to + CHUNK;
}
