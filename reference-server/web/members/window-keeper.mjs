// Which windows of a member list to hold for what is on show. No page in here.

/** Rows of a chunk window, as the protocol has it. */
export const CHUNK = 100;

/** Rows on each side of an anchor. */
const REACH = 120;
/** Rows beyond the view that should be there before they are seen. */
const MARGIN = 25;
/** Above this row the chunks, which all viewers share, serve better than a window of our own. */
const TOP_ZONE = 300;
/** An answer that takes longer than this is asked for again. */
const PATIENCE_MS = 10_000;

/**
 * Holds chunk windows near the top of the list, one anchored window further down, and chunks for the moment after a
 * jump, when there is no row yet to anchor to. `client` keeps the rows (member-list.mjs), `request(verb, payload)`
 * reaches the server and resolves to a bundle, `changed()` is called after every bundle.
 */
export class WindowKeeper {
  #client;
  #request;
  #changed;
  #asked = new Map();
  #first = 0;
  #end = 0;
  #paused = false;
  #closed = false;

  constructor({ client, request, changed, failed }) {
    this.#client = client;
    this.#request = request;
    this.#changed = changed;
    this.failed = failed;
  }

  /** The list's counts, or null before the first bundle. */
  get counts() {
    return this.#client.counts;
  }

  /** The row at an absolute index, or null when no window holds it. */
  row(index) {
    return this.#covering(index, index + 1)?.at(index) ?? null;
  }

  /** True when every row of `[first, end)` is held. */
  holds(first, end) {
    let index = first;
    while (index < end) {
      const window = this.#covering(index, index + 1);
      if (!window) return false;
      index = window.end;
    }
    return true;
  }

  /** Rows `[first, end)` are on show: opens, moves and closes windows accordingly. */
  want(first, end) {
    this.#first = first;
    this.#end = end;
    if (this.#closed || this.#paused) return;
    const total = this.counts?.rows ?? 0;
    if (!this.counts) this.#open("c:0");
    else if (total > 0) this.#arrange(Math.max(0, first - MARGIN), Math.min(total, end + MARGIN));
  }

  /** A bundle that the server pushed. */
  push(bundle) {
    if (this.#closed) return;
    const requests = this.#client.apply(bundle);
    for (const windows of requests) this.#resync(windows);
    this.#changed();
  }

  /** Closes the windows for as long as nobody looks; counts go on. */
  pause() {
    this.#paused = true;
    this.#closeOthers(() => false);
  }

  resume() {
    if (!this.#paused) return;
    this.#paused = false;
    this.want(this.#first, this.#end);
  }

  /** Nothing is asked for and nothing applied from here on. */
  close() {
    this.#closed = true;
  }

  /** Opens a window around a group's header or a member, and resolves when its rows are there. */
  async goTo(name) {
    await this.#ask(`go ${name}`, "member_list_open", { window: name });
    return this.#views().find((view) => view.name === name) ?? null;
  }

  #arrange(from, to) {
    if (from < TOP_ZONE) {
      for (let k = Math.floor(from / CHUNK); k * CHUNK < to; k += 1) this.#open(`c:${k}`);
      this.#closeOthers((view) => isChunk(view.name) && view.end > from - CHUNK && view.start < to + CHUNK);
      return;
    }
    const anchored = this.#views().find((view) => !isChunk(view.name));
    if (anchored && anchored.start <= from && anchored.end >= to) {
      this.#closeOthers((view) => view.name === anchored.name);
    } else if (this.holds(this.#first, this.#end)) {
      this.#anchor(anchored);
    } else {
      const last = Math.max(this.#first, this.#end - 1);
      for (let k = Math.floor(this.#first / CHUNK); k * CHUNK <= last; k += 1) this.#open(`c:${k}`);
      this.#closeOthers((view) => isChunk(view.name) && view.end > from && view.start < to);
    }
  }

  // Anchors to the row in the middle of the view, through the old anchored window when there is one.
  #anchor(old) {
    const row = this.row(Math.floor((this.#first + this.#end) / 2));
    if (!row) return;
    const reach = `${REACH}:${REACH}`;
    const window = row.id === undefined ? `g:${row.group}:${reach}` : `a:${row.id}:${reach}`;
    if (old?.name === window) return;
    if (old) this.#ask("anchor", "member_list_move", { from: old.name, window });
    else this.#ask("anchor", "member_list_open", { window });
  }

  #open(name) {
    if (this.#views().some((view) => view.name === name)) return;
    this.#ask(`open ${name}`, "member_list_open", { window: name });
  }

  #closeOthers(keep) {
    for (const view of this.#views()) {
      if (keep(view)) continue;
      this.#client.close(view.name);
      this.#request("member_list_close", { window: view.name }).catch(() => {});
    }
  }

  #resync(windows) {
    this.#ask(`resync ${windows.join(" ")}`, "member_list_resync", { windows });
  }

  // One request of a kind at a time; what is still wanted when it returns is found by `want` again.
  async #ask(kind, verb, payload) {
    const now = Date.now();
    if (now - (this.#asked.get(kind) ?? -Infinity) < PATIENCE_MS) return;
    this.#asked.set(kind, now);
    try {
      this.#client.expect?.(verb, payload);
      const bundle = await this.#request(verb, payload);
      this.#asked.delete(kind);
      if (!this.#closed) this.push(bundle);
    } catch (error) {
      if (!this.#closed) this.failed(error);
      setTimeout(() => this.#asked.delete(kind), 1000);
    }
  }

  #covering(first, end) {
    return this.#views().find((view) => view.start <= first && view.end >= end);
  }

  #views() {
    return this.#client.views();
  }
}

function isChunk(name) {
  return name.startsWith("c:");
}
