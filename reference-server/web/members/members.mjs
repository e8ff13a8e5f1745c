// Ties the member list of the open room to the sidebar.

import { byId } from "../dom.mjs";
import { ListSession, pauseWhileHidden } from "../headcount/index.mjs";
import { JumpBox } from "./jump-box.mjs";
import { MemberPanel } from "./member-panel.mjs";

/** The member sidebar of the page. */
export class Members {
  #room = null;
  #session = null;
  #onJoined = () => this.#session.joined();
  #onBundle = (event) => this.#session.push(event.detail);

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
    this.jump = new JumpBox(this.panel, {
      find: (prefix) => this.#session?.find(prefix) ?? [],
      search: (wanted) => this.#session?.search(wanted),
      found: () => this.#session?.found ?? null,
    });
    pauseWhileHidden({ pause: () => this.#session?.pause(), resume: () => this.#session?.resume() });
  }

  /** Shows the members of another room, or of none. */
  show(room) {
    this.#session?.close();
    this.#session = null;
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
    this.#session = new ListSession({
      request: (verb, payload) => room.request(verb, payload),
      view: this.panel,
      changed: () => this.#changed(),
      failed: (error) => this.#failed(error),
    });
    room.addEventListener("joined", this.#onJoined);
    room.addEventListener("member_list", this.#onBundle);
  }

  #failed(error) {
    if (!this.#session.counts) this.panel.note(`The member list is not available. ${error.message}`);
  }

  // Within the group of the active row, else in the first group with such a name.
  async #goToName(prefix, group) {
    try {
      const matches = await this.#session.find(prefix);
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
    this.panel.changed(this.#session.counts);
    this.jump.draw();
  }
}
