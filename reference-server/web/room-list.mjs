// The list of rooms and the dialog that creates one.

import { byId, h, setNote } from "./dom.mjs";

const PAGE = 100;
// More are not listed, but opened by their address.
const ROOMS_MAX = 2000;

/** Shows the rooms; `opened(room)` is called when the user picks one. */
export class RoomList {
  #rooms = [];
  #current = null;

  constructor({ api, opened }) {
    this.api = api;
    this.opened = opened;
    this.list = byId("room-list");
    this.dialog = byId("room-dialog");
    byId("new-room").addEventListener("click", () => this.#openDialog());
    const form = byId("room-form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#create(form);
    });
    form.querySelector("[value=cancel]").addEventListener("click", () => this.dialog.close());
  }

  /** Fetches the rooms, page by page. On failure the panel shows the reason, and the rooms known so far. */
  async load() {
    const rooms = [];
    try {
      for (let page = null; rooms.length < ROOMS_MAX && page?.length !== 0; ) {
        page = (await this.api.rooms({ limit: PAGE, after: rooms.at(-1)?.id ?? null })) ?? [];
        rooms.push(...page);
        if (page.length < PAGE) break;
      }
      this.#rooms = rooms;
      setNote(byId("rooms-error"), "");
    } catch (failure) {
      setNote(byId("rooms-error"), failure.message);
    }
    this.#draw();
  }

  /** Adds a room that has come, or shows what has changed of one. */
  add(room) {
    const index = this.#rooms.findIndex(({ id }) => id === room.id);
    if (index >= 0) this.#rooms[index] = { ...this.#rooms[index], ...room };
    else this.#rooms.push(room);
    this.#draw();
  }

  /** Removes a room that is gone. */
  remove(id) {
    this.#rooms = this.#rooms.filter((room) => room.id !== id);
    this.#draw();
  }

  find(id) {
    return this.#rooms.find((room) => room.id === id) ?? null;
  }

  named(name) {
    return this.#rooms.find((room) => room.name === name) ?? null;
  }

  /** Returns the first room to open: the giant one if there is one, so that a newcomer sees it change. */
  first() {
    return this.#rooms.find((room) => room.simulated) ?? this.#rooms[0] ?? null;
  }

  select(id) {
    this.#current = id;
    this.#draw();
  }

  /** Guests cannot create rooms; the button is disabled with a reason. */
  allowCreate(allowed) {
    const button = byId("new-room");
    button.disabled = !allowed;
    button.title = allowed ? "Create a room" : "Sign in to create a room";
  }

  #draw() {
    const nodes = this.#rooms.map((room) => {
      const current = room.id === this.#current;
      const button = h(
        "button",
        {
          type: "button",
          class: "room",
          "aria-current": current ? "page" : null,
          title: room.description ?? null,
          onclick: () => this.opened(room),
        },
        h("span", { class: "hash", "aria-hidden": "true", text: "#" }),
        h("bdi", { class: "room-label", text: room.name }),
        room.simulated ? h("span", { class: "tag", text: "demo" }) : null,
      );
      return h("li", {}, button);
    });
    const focused = this.list.contains(document.activeElement);
    this.list.replaceChildren(...nodes);
    if (focused) this.list.querySelector("[aria-current]")?.focus();
    if (nodes.length === 0) this.list.append(h("li", { class: "empty", text: "No rooms yet. Create the first one." }));
  }

  #openDialog() {
    byId("room-form").reset();
    setNote(byId("room-error"), "");
    this.dialog.showModal();
    byId("room-form-name").focus();
  }

  async #create(form) {
    const name = form.elements.name.value.trim();
    const note = byId("room-error");
    if (!name) return setNote(note, "Give the room a name.");
    try {
      const room = await this.api.createRoom(name, form.elements.description.value.trim());
      this.dialog.close();
      this.add(room);
      this.opened(room);
    } catch (error) {
      setNote(note, error.message);
    }
    return undefined;
  }
}
