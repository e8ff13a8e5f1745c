// Ties the member list of the open room to the sidebar: one client and one keeper for each time the room is joined.

import { byId } from "../dom.mjs";
import { MemberListClient, WindowKeeper } from "../headcount/index.mjs";
import { JumpBox } from "./jump-box.mjs";
import { MemberPanel } from "./member-panel.mjs";

const HIDDEN_AFTER_MS = 15_000;

/** The member sidebar of the page. */
export class Members {
  #room = null;
  #keeper = null;
  #hiddenTimer = null;
  #onJoined = () => this.#open();
  #onBundle = (event) => this.#keeper?.push(event.detail);

  constructor() {
    const elements = {
      scroll: byId("members-scroll"),
      sizer: byId("members-sizer"),
      rows: byId("members-rows"),
      sticky: byId("members-sticky"),
      position: byId("members-position"),
      note: byId("members-note"),
      count: byId("members-count"),
    };
    this.rendered = byId("members-rendered");
    this.panel = new MemberPanel(elements, { typed: (text, group) => this.#goToName(text, group) });
    this.jump = new JumpBox(this.panel, (prefix) => this.#keeper?.find(prefix) ?? []);
    document.addEventListener("visibilitychange", () => this.#onVisibility());
  }

  /** Shows the members of another room, or of none. */
  show(room) {
    this.#keeper?.close();
    this.#keeper = null;
    this.#room?.removeEventListener("joined", this.#onJoined);
    this.#room?.removeEventListener("member_list", this.#onBundle);
    this.#room = room;
    this.jump.close();
    // The rows that the server rendered stay until those of the list have come.
    const isRendered = room && this.rendered.dataset.room === room.info.id;
    if (!isRendered) this.#forgetRendered();
    this.panel.show(null);
    if (!room) return;
    if (!isRendered) this.panel.note("Loading members…");
    room.addEventListener("joined", this.#onJoined);
    room.addEventListener("member_list", this.#onBundle);
  }

  // The server forgets a viewer with its connection, so every join starts a new one; old rows stay visible meanwhile.
  #open() {
    const room = this.#room;
    this.#keeper?.close();
    const keeper = new WindowKeeper({
      client: new MemberListClient(),
      request: (verb, payload) => room.request(verb, payload),
      changed: () => keeper === this.#keeper && this.#changed(),
      failed: (error) =>
        keeper === this.#keeper &&
        !keeper.counts &&
        this.panel.note(`The member list is not available. ${error.message}`),
    });
    this.#keeper = keeper;
    if (this.panel.rows > 0) this.panel.reconnected(keeper);
    else this.panel.show(keeper);
  }

  // Within the group of the active row, else in the first group with such a name.
  async #goToName(prefix, group) {
    try {
      const matches = await this.#keeper.find(prefix);
      const match = matches.find((other) => other.group === group) ?? matches[0];
      if (match) await this.panel.seek(`m:${match.id}`, match.index);
    } catch {
      // Typing again retries.
    }
  }

  #forgetRendered() {
    this.rendered.hidden = true;
    delete this.rendered.dataset.room;
    this.rendered.replaceChildren();
    byId("members-count").textContent = "";
  }

  #changed() {
    if (this.rendered.dataset.room) this.#forgetRendered();
    this.panel.changed();
    this.jump.draw();
  }

  // A hidden tab needs no rows: after a while its windows are closed, and opened again when it is shown.
  #onVisibility() {
    clearTimeout(this.#hiddenTimer);
    if (document.hidden) this.#hiddenTimer = setTimeout(() => this.#keeper?.pause(), HIDDEN_AFTER_MS);
    else this.#keeper?.resume();
  }
}
