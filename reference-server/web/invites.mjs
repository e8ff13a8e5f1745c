// The invitations that wait for an answer.

import { byId, h, setNote } from "./dom.mjs";
import { Listing } from "./listing.mjs";

/** Shows the user's invitations; `accepted(room)` is called with the room of one that was accepted. */
export class Invites {
  #invites = new Listing("room_id");

  constructor({ api, accepted }) {
    this.api = api;
    this.accepted = accepted;
    this.list = byId("invite-list");
  }

  async load() {
    try {
      await this.#invites.fetch(() => this.api.invites());
    } catch {
      // Those known so far stay.
    }
    this.#draw();
  }

  /** Forgets all, for the next user. */
  clear() {
    this.#invites.clear();
    this.#draw();
  }

  add(invite) {
    this.#invites.addFirst(invite);
    byId("announce").textContent = `${invite.inviter} invites you to ${invite.room_name}`;
    this.#draw();
  }

  async #answer(invite, answer) {
    try {
      const room = await this.api.answerInvite(invite.room_id, answer);
      if (answer === "accept") this.accepted(room);
    } catch (error) {
      setNote(byId("rooms-error"), error.message);
      if (error.status !== 404) return;
    }
    this.#invites.remove(invite.room_id);
    this.#draw();
  }

  #draw() {
    const nodes = this.#invites.items.map((invite) =>
      h(
        "li",
        { class: "invite" },
        h("p", {}, h("bdi", { text: invite.inviter }), " invites you to ", h("bdi", { text: invite.room_name })),
        ...["accept", "decline"].map((answer) =>
          h("button", {
            class: "link",
            type: "button",
            text: answer === "accept" ? "Accept" : "Decline",
            onclick: () => this.#answer(invite, answer),
          }),
        ),
      ),
    );
    this.list.hidden = nodes.length === 0;
    this.list.replaceChildren(...nodes);
  }
}
