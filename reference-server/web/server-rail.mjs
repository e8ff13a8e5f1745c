// The servers: a rail of their initials, and the dialogs that create servers and categories.

import { bindDialog } from "./dialogs.mjs";
import { byId, h, paintAvatar, replaceRows } from "./dom.mjs";
import { Listing, readPages } from "./listing.mjs";
import { badge, wordsFor } from "./unread.mjs";

/**
 * Shows the servers; `picked(server)` is called when the user picks one, or has created one. `unreadOf(id)` returns
 * what is unread on one whose rooms are not listed.
 */
export class ServerRail {
  #servers = new Listing();

  constructor({ api, picked, categoryCreated, unreadOf }) {
    this.api = api;
    this.unreadOf = unreadOf;
    this.current = null;
    this.list = byId("server-list");
    this.list.addEventListener("click", (event) => {
      const server = this.find(event.target.closest("[data-id]")?.dataset.id);
      if (server) picked(server);
    });
    const dialog = bindDialog("server", async ({ name }) => {
      const server = await api.createServer(named(name, "server"));
      this.add(server);
      picked(server);
    });
    byId("new-server").addEventListener("click", () => dialog.open());
    const category = bindDialog("category", async ({ name }) => {
      categoryCreated(await api.createCategory(this.current.id, named(name, "category")));
    });
    byId("new-category").addEventListener("click", () => category.open());
  }

  /** Fetches the servers. The one that is shown stays, unless it is gone: then it is the first. */
  async load(user) {
    this.user = user;
    byId("new-server").hidden = user.guest;
    await this.#servers.fetch(() => readPages((page) => this.api.servers(page)));
    this.select(this.current?.id ?? this.first?.id);
  }

  add(server) {
    this.#servers.add(server);
    this.draw();
  }

  /** Removes a server that is gone. Returns whether it was the one that is shown. */
  remove(id) {
    this.#servers.remove(id);
    this.draw();
    return this.current?.id === id;
  }

  find(id) {
    return this.#servers.find(id);
  }

  get first() {
    return this.#servers.items[0] ?? null;
  }

  /** Shows that this server is the one whose rooms are listed. */
  select(id) {
    this.current = this.find(id) ?? this.first;
    byId("new-category").hidden = !this.isOwned;
    byId("roles").hidden = !this.isOwned;
    this.draw();
  }

  get isOwned() {
    return this.owns(this.current?.id);
  }

  /** Returns whether the user owns the server of this id. */
  owns(id) {
    const server = this.find(id);
    return Boolean(server && !this.user.guest && server.owner_id === this.user.id);
  }

  /** Returns whether the user may create rooms on the server that is shown. */
  get mayCreate() {
    return !this.user.guest && (this.isOwned || Boolean(this.current?.is_default));
  }

  /** Draws the servers again, after a change of what is unread. */
  draw() {
    byId("servers").hidden = this.#servers.items.length < 2 && byId("new-server").hidden;
    const nodes = this.#servers.items.map(({ id, name }) => {
      const face = h("span", { class: "avatar", "aria-hidden": "true" });
      paintAvatar(face, id, name);
      const current = id === this.current?.id;
      const sum = current ? { unread: 0, mentions: 0 } : this.unreadOf(id);
      const button = h(
        "button",
        {
          type: "button",
          class: "server",
          "data-id": id,
          "aria-pressed": String(current),
          "aria-label": sum.unread > 0 ? `${name}, ${wordsFor(sum)}` : name,
          title: name,
        },
        face,
        badge(sum),
      );
      return h("li", {}, button);
    });
    replaceRows(this.list, nodes);
  }
}

function named(input, what) {
  const name = input.value.trim();
  if (!name) throw new Error(`Give the ${what} a name.`);
  return name;
}
