// The list of rooms and the dialog that creates one.

import { byId, h, setNote } from "./dom.mjs";

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

  /** Fetches the rooms. Returns them, or nothing on failure (the panel shows the reason). */
  async load() {
    const error = byId("rooms-error");
    try {
      this.#rooms = (await this.api.rooms()) ?? [];
      setNote(error, "");
    } catch (failure) {
      setNote(error, failure.message);
      return null;
    }
    this.#draw();
    return this.#rooms;
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
      await this.load();
      this.opened(this.find(room.id) ?? room);
    } catch (error) {
      setNote(note, error.message);
    }
    return undefined;
  }
}
