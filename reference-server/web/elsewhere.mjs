// What is unread on the servers whose rooms are not listed.

import { Listing } from "./listing.mjs";
import { Refresh } from "./refresh.mjs";
import { sumOf } from "./unread.mjs";

const PAGE = 100;
const PAGES_MAX = 5;
// Each is asked for its rooms: of more servers only what is said while the page is open is known.
const SERVERS_MAX = 30;

/**
 * Knows the rooms of other servers of which the user is a member. `servers()` returns these servers; `changed()` is
 * called when something else is unread.
 */
export class Elsewhere {
  #rooms = new Listing();
  #refresh = new Refresh(() => this.#load());
  /** Rooms that were named, and are not known yet; and those that are on no server that is asked. */
  #asked = new Set();
  #strangers = new Set();

  constructor({ api, servers, changed }) {
    Object.assign(this, { api, servers, changed });
  }

  /** Reads the rooms of all these servers. */
  loadSoon() {
    this.#strangers.clear();
    this.#refresh.soon();
  }

  /** Forgets all, for the next user. */
  clear() {
    this.#refresh.stop();
    this.#rooms.clear();
    this.#asked.clear();
    this.#strangers.clear();
  }

  /** Takes over rooms that are not listed any more. */
  keep(rooms) {
    for (const room of rooms.filter(isOfMember)) this.#rooms.add(room);
  }

  find(id) {
    return this.#rooms.find(id);
  }

  remove(id) {
    this.#rooms.remove(id);
    this.changed();
  }

  /** Takes up the numbers of the newest message and of the newest one that was read. */
  note(id, numbers) {
    if (this.#rooms.note(id, numbers)) this.changed();
  }

  /** Looks for a room that has news and is not known: the user may have entered it on another device. */
  ask(id) {
    if (this.#strangers.has(id)) return;
    this.#asked.add(id);
    this.#refresh.soon();
  }

  /** Returns how many messages of a server are unread, and how many of them name the user: `{unread, mentions}`. */
  of(serverId) {
    return sumOf(this.#rooms.items.filter((room) => room.server_id === serverId));
  }

  /** Returns the same of all servers whose rooms are not listed. */
  get sum() {
    const others = new Set(this.servers().map(({ id }) => id));
    return sumOf(this.#rooms.items.filter((room) => others.has(room.server_id)));
  }

  async #load() {
    const servers = this.servers().slice(0, SERVERS_MAX);
    const asked = [...this.#asked];
    this.#asked.clear();
    await this.#rooms.fetch(async () => {
      const read = [];
      for (const { id } of servers) read.push(...(await this.#roomsOf(id)));
      const ids = new Set(servers.map(({ id }) => id));
      return [...this.#rooms.items.filter((room) => !ids.has(room.server_id)), ...read.filter(isOfMember)];
    });
    for (const id of asked) if (!this.find(id)) this.#strangers.add(id);
    this.changed();
  }

  async #roomsOf(serverId) {
    const rooms = [];
    for (let page = 1; page <= PAGES_MAX && rooms.length === (page - 1) * PAGE; page += 1)
      rooms.push(...((await this.api.rooms(serverId, { limit: PAGE, after: rooms.at(-1)?.id ?? null })) ?? []));
    return rooms;
  }
}

function isOfMember({ read_seq: read }) {
  return Number.isFinite(read);
}
