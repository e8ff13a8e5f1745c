// The list of rooms and the dialog that creates one.

import { bindDialog } from "./dialogs.mjs";
import { byId, h, icon, replaceRows, setNote } from "./dom.mjs";
import { Listing } from "./listing.mjs";
import { badge, sumOf, unreadOf } from "./unread.mjs";

const PAGE = 100;
// After this many a button lists more.
const STEP = 500;

/** Shows the rooms; `picked(id)` is called when the user picks one, `opened(room)` with one just created. */
export class RoomList {
  #rooms = new Listing();
  #categories = new Listing();
  #server = null;
  #hasMore = false;
  #current = null;
  // Until then the list is the one that the server rendered.
  #isLoaded = false;

  constructor({ api, picked, opened }) {
    this.api = api;
    this.picked = picked;
    this.opened = opened;
    this.list = byId("room-list");
    this.list.addEventListener("click", (event) => this.#onClick(event));
    this.dialog = bindDialog("room", (fields) => this.#create(fields));
    byId("new-room").addEventListener("click", () => this.#ask());
  }

  /** Fetches the rooms of a server, page by page. On failure the panel shows the reason, and the rooms known so far. */
  async load(server) {
    if (server?.id !== this.#server?.id) {
      this.#categories.clear();
      this.#rooms.clear();
    }
    this.#server = server;
    try {
      const count = Math.max(STEP, this.#rooms.items.length);
      await Promise.all([
        this.#categories.fetch(() => this.api.categories(server.id)),
        this.#fetch(server, [], count),
      ]);
      if (server.id !== this.#server.id) return;
      setNote(byId("rooms-error"), "");
    } catch (failure) {
      if (server.id !== this.#server.id) return;
      setNote(byId("rooms-error"), failure.message);
    }
    this.#isLoaded = true;
    this.#draw();
  }

  // Lists `rooms` and at least `count` more, if there are as many.
  async #fetch(server, rooms, count) {
    let hasMore = true;
    const isTaken = await this.#rooms.fetch(async () => {
      const all = [...rooms];
      while (hasMore && all.length < rooms.length + count) {
        const page = (await this.api.rooms(server.id, { limit: PAGE, after: all.at(-1)?.id ?? null })) ?? [];
        all.push(...page);
        hasMore = page.length === PAGE;
      }
      return all;
    });
    if (isTaken) this.#hasMore = hasMore;
  }

  async #more() {
    try {
      await this.#fetch(this.#server, this.#rooms.items, STEP);
      this.#draw();
    } catch (failure) {
      setNote(byId("rooms-error"), failure.message);
    }
  }

  addCategory(category) {
    if (category.server_id !== this.#server?.id) return;
    this.#categories.add(category);
    this.#draw();
  }

  /** Removes a category; its rooms are then in none. */
  removeCategory(id) {
    this.#categories.remove(id);
    this.#draw();
  }

  /** Adds a room that has come, or shows what has changed of one. */
  add(room) {
    if (this.#server && room.server_id !== this.#server.id) return;
    this.#rooms.add(room);
    this.#draw();
  }

  /** Forgets all, for the next user. */
  clear() {
    this.#categories.clear();
    this.#rooms.clear();
    this.#hasMore = false;
    this.#draw();
  }

  /** Removes a room that is gone. */
  remove(id) {
    this.#rooms.remove(id);
    this.#draw();
  }

  /** Takes up the numbers of the newest message and of the newest one that was read. */
  note(id, numbers) {
    if (this.#rooms.note(id, numbers)) this.#draw();
  }

  /** Returns how many messages are unread, and how many of them name the user. */
  get sum() {
    return sumOf(this.#rooms.items);
  }

  /** The rooms that are listed. */
  get items() {
    return this.#rooms.items;
  }

  find(id) {
    return this.#rooms.find(id);
  }

  named(name) {
    return this.#rooms.items.find((room) => room.name === name) ?? null;
  }

  /** Returns the first room to open: the giant one if there is one, so that a newcomer sees it change. */
  first() {
    const { items } = this.#rooms;
    return items.find((room) => room.simulated) ?? items[0] ?? null;
  }

  select(id) {
    this.#current = id;
    if (this.#isLoaded) this.#draw();
  }

  /** Some cannot create rooms: the button is then disabled with the reason. */
  allowCreate(allowed, reason) {
    const button = byId("new-room");
    button.disabled = !allowed;
    button.title = allowed ? "Create a room" : reason;
  }

  #draw() {
    const known = new Set(this.#categories.items.map(({ id }) => id));
    const nodes = this.#rooms.items.filter((room) => !known.has(room.category_id)).map((room) => this.#node(room));
    for (const { id, name } of this.#categories.items) {
      nodes.push(h("li", { class: "category" }, h("bdi", { text: name })));
      nodes.push(...this.#rooms.items.filter((room) => room.category_id === id).map((room) => this.#node(room)));
    }
    if (this.#hasMore) {
      const button = h("button", { class: "link", type: "button", text: "More rooms", onclick: () => this.#more() });
      nodes.push(h("li", { class: "empty" }, button));
    }
    replaceRows(this.list, nodes);
    if (nodes.length === 0) this.list.append(h("li", { class: "empty", text: "No rooms yet." }));
  }

  #node(room) {
    const current = room.id === this.#current;
    const link = h(
      "a",
      {
        href: `?room=${room.id}`,
        class: unreadOf(room) > 0 && !current ? "room unread" : "room",
        "aria-current": current ? "page" : null,
        title: room.description || null,
        "data-id": room.id,
      },
      h("span", { class: "hash", "aria-hidden": "true", text: "#" }),
      h("bdi", { class: "room-label", text: room.name }),
      room.private || room.limited ? icon("lock") : null,
      room.limited ? h("span", { class: "hidden", text: "limited to roles" }) : null,
      room.simulated ? h("span", { class: "tag", text: "demo" }) : null,
      badge(sumOf([room])),
    );
    return h("li", {}, link);
  }

  // Also on the links that the server rendered. With a modifier it is a link like any other.
  #onClick(event) {
    const { id } = event.target.closest("a.room")?.dataset ?? {};
    if (!id || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.picked(id);
  }

  #ask() {
    const choice = byId("room-form-category");
    const options = this.#categories.items.map(({ id, name }) => h("option", { value: id, text: name }));
    choice.replaceChildren(h("option", { value: "", text: "None" }), ...options);
    byId("room-form-categories").hidden = options.length === 0;
    this.dialog.open();
  }

  async #create({ name, description, category, private: hidden }) {
    const wanted = name.value.trim();
    if (!wanted) throw new Error("Give the room a name.");
    const room = await this.api.createRoom(this.#server, wanted, {
      description: description.value.trim(),
      isPrivate: hidden.checked,
      categoryId: category.value || null,
    });
    this.add(room);
    this.opened(room);
  }
}
