// One list over connections that come and go.

import { MemberListClient } from "./client.mjs";
import { ViewerShare } from "./viewer-share.mjs";
import { WindowKeeper } from "./window-keeper.mjs";

const HIDDEN_AFTER_MS = 15_000;

/**
 * Makes a keeper for each time the list is joined. If the server speaks frame format 2, the windows of the former
 * connection are resumed: it sends what changed in them since. Otherwise they are opened again. Old rows stay visible
 * meanwhile. `request(verb, payload)` reaches the server (see WindowKeeper), `view` is a VirtualList
 * or has its `rows`, `show` and `reconnected`. `changed()` is called after every bundle, `failed(error)` after a
 * refusal or a bundle that is not of the shape of the protocol. Lists whose requests reach one viewer of the server
 * name the same object as `viewer`, such as their channel: a window closes with the last of them that holds it.
 */
export class ListSession {
  #client = null;
  #keeper = null;
  #isPaused = false;
  #searched = null;
  #share;

  constructor({ request, view, changed, failed = () => {}, viewer = {} }) {
    this.request = request;
    this.view = view;
    this.changed = changed;
    this.failed = failed;
    this.#share = new ViewerShare(viewer, {
      names: () => this.#keeper?.names ?? [],
      isSearching: () => this.#keeper?.isSearching ?? false,
      push: (bundle) => this.push(bundle),
    });
  }

  /** The list's counts, or null before the first bundle of this connection. */
  get counts() {
    return this.#keeper?.counts ?? null;
  }

  /** Resumes windows over a new connection, or opens them. */
  joined() {
    const holds = this.#client?.format === 2 && this.#client.names.length > 0;
    if (holds && !this.#isPaused) this.#resume();
    else this.#begin(new MemberListClient());
  }

  async #resume() {
    const keeper = this.#take(this.#client);
    const resumed = keeper.reconnect();
    this.view.reconnected(keeper);
    keeper.search(this.#searched);
    if (!(await resumed) && keeper === this.#keeper) this.#begin(new MemberListClient());
  }

  #begin(client) {
    const keeper = this.#take(client);
    if (this.view.rows > 0) this.view.reconnected(keeper);
    else this.view.show(keeper);
    keeper.search(this.#searched);
  }

  #take(client) {
    const former = this.#keeper;
    former?.close();
    this.#client = client;
    const keeper = new WindowKeeper({
      client,
      request: (verb, payload) => this.#share.request(this.request, verb, payload),
      changed: () => keeper === this.#keeper && this.changed(),
      failed: (error) => keeper === this.#keeper && this.failed(error),
      former,
    });
    if (this.#isPaused) keeper.pause();
    this.#keeper = keeper;
    return keeper;
  }

  /** Applies a bundle that the server pushed. */
  push(bundle) {
    this.#keeper?.push(this.#share.own(bundle));
  }

  /** Finds names that begin with `prefix`: `[{group, index, id}]`, the first of each group. */
  async find(prefix) {
    return (await this.#keeper?.find(prefix)) ?? [];
  }

  /** Searches as `WindowKeeper.search` does; the search goes on over the next connections. */
  search(wanted) {
    this.#searched = wanted;
    this.#keeper?.search(wanted);
  }

  /** What is found (see `ListSearch`), or null. */
  get found() {
    return this.#keeper?.found ?? null;
  }

  /** Closes the windows while the list is hidden; the server goes on sending counts. */
  pause() {
    this.#isPaused = true;
    this.#keeper?.pause();
  }

  resume() {
    this.#isPaused = false;
    this.#keeper?.resume();
  }

  /** Ends all requests and changes; the connection is gone, or goes as well. */
  close() {
    this.#share.end();
    this.#keeper?.close();
    this.#keeper = null;
  }

  /** Ends them and closes the windows over a connection that stays. */
  leave() {
    this.#share.end();
    this.#keeper?.leave();
    this.#keeper = null;
  }
}

/**
 * Pauses a session while the document is hidden: a hidden tab needs no rows, so after a while its windows are closed,
 * and opened again when it is shown. Returns a function that ends this.
 */
export function pauseWhileHidden(session, document = globalThis.document) {
  let timer = null;
  const onChange = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => session.pause(), HIDDEN_AFTER_MS);
    else session.resume();
  };
  document?.addEventListener("visibilitychange", onChange);
  return () => {
    clearTimeout(timer);
    document?.removeEventListener("visibilitychange", onChange);
  };
}
