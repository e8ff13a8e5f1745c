// What is unread on the servers whose rooms are not listed.

import { Listing, readPages } from "./listing.mjs";
import { Refresh } from "./refresh.mjs";
import { sumOf } from "./unread.mjs";

/**
 * Knows the rooms of all servers of which the user is a member; of very many rooms, those that are not read with the
 * first ones are known once something is said in them. `current()` returns the server whose rooms are listed;
 * `changed()` is called when something else is unread.
 */
export class Elsewhere {
  #rooms = new Listing();
  #refresh = new Refresh(() => this.#load());
  /** Rooms that were named, and are not known yet; and those that were not among the rooms that were read. */
  #asked = new Set();
  #strangers = new Set();

  constructor({ api, current, changed }) {
    Object.assign(this, { api, current, changed });
  }

  /** Reads the rooms. */
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
    const current = this.current()?.id;
    return sumOf(this.#rooms.items.filter((room) => room.server_id !== current));
  }

  async #load() {
    const asked = [...this.#asked];
    this.#asked.clear();
    await this.#rooms.fetch(() => readPages((page) => this.api.joinedRooms(page)));
    for (const id of asked) if (!this.find(id)) this.#strangers.add(id);
    this.changed();
  }
}

function isOfMember({ read_seq: read }) {
  return Number.isFinite(read);
}
