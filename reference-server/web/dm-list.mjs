// The list of conversations.

import { byId, h, paintAvatar, replaceRows } from "./dom.mjs";
import { Listing } from "./listing.mjs";
import { badge, sumOf, unreadOf } from "./unread.mjs";

/** Shows the user's conversations; `picked(id)` is called when the user picks one. */
export class DmList {
  #dms = new Listing();
  #current = null;
  #drawn = "";

  constructor({ api, picked }) {
    this.api = api;
    this.list = byId("dm-list");
    this.list.addEventListener("click", (event) => {
      const { id } = event.target.closest("a.dm")?.dataset ?? {};
      if (!id || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      picked(id);
    });
  }

  /** Fetches the conversations of an account; guests have none. */
  async load(user) {
    byId("dms").hidden = user.guest;
    if (user.guest) return;
    try {
      await this.#dms.fetch(() => this.api.dms());
    } catch {
      // Those known so far stay.
    }
    this.#draw();
  }

  /** Adds a conversation, or shows what has changed of one, as the first. */
  add(dm) {
    this.#dms.addFirst(dm);
    this.#draw();
  }

  /** Forgets all, for the next user. */
  clear() {
    this.#dms.clear();
    this.#draw();
  }

  find(id) {
    return this.#dms.find(id);
  }

  select(id) {
    this.#current = id;
    this.#draw();
  }

  /** Shows the newest message of a conversation: one that has come, or what has become of the one that is known. */
  said(id, message) {
    const dm = this.find(id);
    const known = dm?.last_message?.seq ?? 0;
    if (!dm || known > message.seq) return;
    // The message is changed in place.
    const last = { last_message: { ...message }, last_seq: Math.max(dm.last_seq, message.seq) };
    if (known === message.seq) this.note(id, last);
    else this.add({ ...dm, ...last });
  }

  /** Takes up the numbers of the newest message and of the newest one that was read. Returns whether it is listed. */
  note(id, numbers) {
    const isListed = this.#dms.note(id, numbers);
    if (isListed) this.#draw();
    return isListed;
  }

  /** Returns how many messages are unread, and how many of them name the user. */
  get sum() {
    return sumOf(this.#dms.items);
  }

  // What shows the same stays: the list is read often, and what is under a pointer must not be replaced.
  #draw() {
    const drawn = JSON.stringify([this.#current, this.#dms.items]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const nodes = this.#dms.items.map((dm) => {
      const { id, peer, last_message: last } = dm;
      const avatar = h("span", { class: "avatar", "aria-hidden": "true" });
      paintAvatar(avatar, peer.id, peer.username);
      const dot = h("i", { class: "dot", "data-status": peer.status, title: peer.status });
      const current = id === this.#current;
      const link = h(
        "a",
        {
          href: `?dm=${id}`,
          class: `room dm${unreadOf(dm) > 0 ? " unread" : ""}`,
          "data-id": id,
          "aria-current": current ? "page" : null,
        },
        h("span", { class: "face" }, avatar, dot),
        h(
          "span",
          { class: "dm-text" },
          h("bdi", { text: peer.username }),
          last ? h("bdi", { class: "dm-last", text: last.deleted ? "Message deleted" : last.content }) : null,
        ),
        badge(sumOf([dm])),
      );
      return h("li", {}, link);
    });
    replaceRows(this.list, nodes);
  }
}
