// A member list as a store of snapshots, for frameworks that draw by themselves.

import { request, RequestError, watchChannel } from "./channel.mjs";
import { ListSession, pauseWhileHidden } from "./list-session.mjs";
import { VirtualList } from "./virtual-list.mjs";

/**
 * `subscribe` and `snapshot` are those of React's `useSyncExternalStore`. A snapshot never changes; a new one is made
 * when there is something to draw.
 */
export class ListStore {
  #listeners = new Set();
  #list;
  #session = null;
  #status = "idle";
  #error = null;
  #wanted = null;
  #elements = { scroll: null, sizer: null };
  #methods;
  #snapshot;

  constructor({ rowHeight, overscan } = {}) {
    this.#list = new VirtualList({ rowHeight, overscan, drawNow: () => this.#draw() });
    this.#methods = {
      scrollRef: (element) => this.#take({ scroll: element }),
      sizerRef: (element) => this.#take({ sizer: element }),
      goTo: (index) => this.#list.goTo(index),
      seek: (key, index) => this.#list.seek(key, index),
      find: async (prefix) => (await this.#session?.find(prefix)) ?? [],
      search: (wanted) => this.#search(wanted),
      activate: (index) => this.#list.activate(index),
      press: (key) => this.#list.press(key),
    };
    this.subscribe = (listener) => {
      this.#listeners.add(listener);
      return () => this.#listeners.delete(listener);
    };
    this.snapshot = () => this.#snapshot;
    this.#draw();
  }

  /**
   * Shows the list of a channel, which its owner joins and leaves, or that of a topic of a socket: this joins the
   * channel then; `null` for either is no list. Returns a function that closes the windows, or leaves the channel that
   * was joined here.
   */
  connect(source, topic, params) {
    if (!source || topic === null) return () => {};
    const isOwned = typeof source.channel === "function";
    if (isOwned && !topic) throw new TypeError("a socket needs the option `topic`");
    const channel = isOwned ? source.channel(topic, params) : source;
    const session = new ListSession({
      request: (verb, payload) => request(channel, verb, payload),
      view: this.#list,
      changed: () => this.#changed(),
      failed: (error) => this.#note({ error }),
      viewer: channel,
    });
    session.search(this.#wanted);
    this.#session = session;
    this.#note({ status: "connecting", error: null });
    const stopWatching = watchChannel(channel, {
      joined: () => {
        this.#note({ status: "open", error: null });
        session.joined();
      },
      bundle: (bundle) => session.push(bundle),
      refused: (error) => this.#note({ error }),
      lost: () => this.#note({ status: "reconnecting" }),
    });
    const stopPausing = pauseWhileHidden(session);
    if (isOwned) channel.join();
    return () => {
      stopPausing();
      stopWatching();
      if (!isOwned) session.leave();
      session.close();
      if (isOwned) channel.leave();
      this.#session = null;
      this.#list.show(null);
      this.#note({ status: "idle", error: null });
    };
  }

  #take(elements) {
    Object.assign(this.#elements, elements);
    const { scroll, sizer } = this.#elements;
    if (scroll) this.#list.attach({ scroll, sizer });
    else this.#list.detach();
  }

  // The search goes on in the lists that are shown later.
  #search(wanted) {
    this.#wanted = wanted;
    this.#session?.search(wanted);
    this.#draw();
  }

  #changed() {
    // A refused join is over by now; a request that is refused again tells again.
    this.#error = null;
    this.#list.changed();
  }

  #note({ status = this.#status, error = this.#error }) {
    this.#status = status;
    this.#error = error;
    this.#draw();
  }

  #draw() {
    const { rows, total, header, rowHeight } = this.#list.read();
    this.#snapshot = Object.freeze({
      ...this.#methods,
      status: this.#status,
      error: this.#error,
      found: this.#session?.found ?? null,
      counts: this.#session?.counts ?? null,
      groups: this.#list.groups,
      active: this.#list.active,
      height: this.#list.height,
      rowHeight,
      rows,
      total,
      header,
    });
    for (const listener of this.#listeners) listener();
  }
}
