// Reading the lists again for what no event tells: messages edited and deleted where the user is not, the status of
// others.

import { Refresh } from "./refresh.mjs";

const EVERY_MS = 60_000;

/** Reads the lists of an account again when its user comes back to the page, and while it is seen; then `changed()`. */
export class Review {
  #dms = new Refresh(() => this.#readDms());
  #all = new Refresh(() => this.#readAll());
  #user = null;

  constructor({ dms, rooms, servers, elsewhere, changed }) {
    Object.assign(this, { dms, rooms, servers, elsewhere, changed });
    document.addEventListener("visibilitychange", () => this.soon());
    globalThis.addEventListener("focus", () => this.soon());
    setInterval(() => this.soon(), EVERY_MS);
  }

  /** Begins to read for this user, or for none. */
  show(user) {
    this.#user = user?.guest ? null : user;
    for (const refresh of [this.#dms, this.#all]) refresh.stop();
  }

  /** Reads all lists in which something may have changed. */
  soon() {
    if (this.#user && !document.hidden) this.#all.soon();
  }

  /** Reads the conversations: there is a new message in one of them. */
  dmsSoon() {
    if (this.#user) this.#dms.soon();
  }

  async #readDms() {
    await this.dms.load(this.#user);
    this.changed();
  }

  // Of unread messages only those that name the user can become fewer by a deletion.
  async #readAll() {
    this.dmsSoon();
    if (this.elsewhere.sum.mentions > 0) this.elsewhere.loadSoon();
    if (this.rooms.sum.mentions > 0) await this.rooms.load(this.servers.current);
    this.changed();
  }
}
