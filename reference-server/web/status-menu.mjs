// The menu behind the user's own avatar: online, idle, do not disturb, invisible.

import { byId, h } from "./dom.mjs";
import { localStorageOrNull } from "./session.mjs";

const STATUSES = { online: "Online", idle: "Idle", dnd: "Do not disturb", invisible: "Invisible" };

const KEY = "headcount.status";

/**
 * The status that the user has chosen; `changed(status)` is called with a new one. The server keeps that of an account,
 * the page that of a guest.
 */
export class StatusMenu {
  constructor({ changed }) {
    this.status = "online";
    this.changed = changed;
    this.menu = byId("status-menu");
    this.items = Object.entries(STATUSES).map(([status, text]) =>
      h(
        "button",
        { type: "button", role: "menuitemradio", "data-status": status, onclick: () => this.#choose(status) },
        h("i", { class: "dot", "data-status": status, "aria-hidden": "true" }),
        text,
      ),
    );
    this.menu.replaceChildren(...this.items);
    this.menu.addEventListener("keydown", (event) => this.#onKey(event));
    this.menu.addEventListener("toggle", (event) => {
      if (event.newState === "open") this.items.find((item) => item.dataset.status === this.status).focus();
    });
    this.#draw();
  }

  /** Takes up the status that this user chose before. */
  show(user) {
    this.user = user;
    const stored = read();
    this.status = stored.user === user.id && stored.status in STATUSES ? stored.status : "online";
    this.#draw();
  }

  /** Takes up the status that the server has. That of a guest may be lost there, and is chosen again. */
  take(status) {
    if (!(status in STATUSES) || status === this.status) return;
    if (this.user.guest) {
      this.changed(this.status);
      return;
    }
    this.status = status;
    this.#draw();
  }

  /** Returns the status for a join: that of a guest, which the server may not know. */
  get ofGuest() {
    return this.user?.guest ? this.status : null;
  }

  #choose(status) {
    this.status = status;
    if (this.user.guest) write({ user: this.user.id, status });
    this.#draw();
    this.menu.hidePopover();
    this.changed(status);
  }

  #onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const now = this.items.indexOf(document.activeElement);
    this.items[(now + step + this.items.length) % this.items.length].focus();
  }

  #draw() {
    for (const item of this.items) item.setAttribute("aria-checked", String(item.dataset.status === this.status));
    byId("me-dot").dataset.status = this.status;
    byId("me-status").setAttribute("aria-label", `Your status: ${STATUSES[this.status]}`);
  }
}

// A guest lives as long as the tab, but a status kept longer names its user.
function read() {
  try {
    return JSON.parse(localStorageOrNull()?.getItem(KEY) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

function write(value) {
  try {
    localStorageOrNull()?.setItem(KEY, JSON.stringify(value));
  } catch {
    // Without storage a reload loses the status.
  }
}
