// The dialogs of a server's owner: its roles, the members that have them, and the rooms that are limited to them.

import { bindDialog } from "./dialogs.mjs";
import { byId, h, icon, setNote } from "./dom.mjs";

const NEW_COLOUR = "#5151cd";

/** Lists the roles of a server, the highest first; creates, changes, orders, deletes, gives and takes them. */
export class RolesDialog {
  #server = null;
  #roles = [];
  /** The role that the form changes, or null: it then creates one. */
  #edited = null;
  #holder = null;

  constructor(api) {
    this.api = api;
    this.dialog = byId("roles-dialog");
    this.error = byId("roles-error");
    this.list = byId("role-list");
    this.form = byId("role-form");
    this.holderForm = byId("holder-form");
    this.holderRoles = byId("holder-roles");
    this.form.addEventListener("submit", (event) => this.#submit(event, () => this.#save()));
    this.form.elements.colour.addEventListener("input", () => {
      this.form.elements.coloured.checked = true;
    });
    this.holderForm.addEventListener("submit", (event) => this.#submit(event, () => this.#find()));
    byId("role-form-cancel").addEventListener("click", () => this.#edit(null));
    byId("roles-close").addEventListener("click", () => this.dialog.close());
  }

  /** Opens the dialog for a server that the user owns. */
  async open(server) {
    this.#server = server;
    this.#roles = [];
    this.#holder = null;
    byId("roles-dialog-title").textContent = `Roles of ${server.name}`;
    this.holderForm.reset();
    this.#drawHolder([]);
    this.#edit(null);
    this.dialog.showModal();
    await this.#try(async () => this.#take(await this.api.roles(server.id)));
  }

  #submit(event, change) {
    event.preventDefault();
    return this.#try(change);
  }

  // Shows the reason of what cannot be done.
  async #try(change) {
    setNote(this.error, "");
    try {
      await change();
    } catch (error) {
      setNote(this.error, error.message);
    }
  }

  #take(roles) {
    this.#roles = roles;
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.list.replaceChildren(...roles.map((role, place) => this.#item(role, place)));
    byId("roles-empty").hidden = roles.length > 0;
    byId("holder-form").hidden = roles.length === 0;
    if (focused) this.list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  #item(role, place) {
    const button = (label, symbol, act, disabled = false) =>
      h(
        "button",
        {
          class: "icon-button small",
          type: "button",
          "aria-label": label,
          title: label,
          "data-key": `${symbol} ${role.id}`,
          disabled,
          onclick: act,
        },
        icon(symbol),
      );
    const { name } = role;
    const isLast = place === this.#roles.length - 1;
    return h(
      "li",
      { class: "role", "data-id": role.id },
      swatch(role),
      h("bdi", { class: "role-name", text: name }),
      role.hoisted ? h("span", { class: "tag", text: "group" }) : null,
      button(`Move ${name} up`, "up", () => this.#try(() => this.#move(place, place - 1)), place === 0),
      button(`Move ${name} down`, "down", () => this.#try(() => this.#move(place, place + 1)), isLast),
      button(`Change ${name}`, "edit", () => this.#edit(role)),
      button(`Delete ${name}`, "delete", () => this.#askDelete(role)),
    );
  }

  #askDelete(role) {
    const item = this.list.querySelector(`[data-id="${CSS.escape(role.id)}"]`);
    const remove = () => this.#try(() => this.#delete(role));
    item.replaceChildren(
      h("span", { class: "role-name" }, "Delete ", h("bdi", { text: role.name }), "?"),
      h("button", { class: "link", type: "button", text: "Delete", onclick: remove }),
      h("button", { class: "link", type: "button", text: "Keep", onclick: () => this.#take(this.#roles) }),
    );
    item.querySelector("button").focus();
  }

  async #delete(role) {
    await this.api.deleteRole(role);
    if (this.#edited?.id === role.id) this.#edit(null);
    await this.#reload();
    this.form.elements.name.focus();
  }

  async #move(from, to) {
    const order = this.#roles.map(({ id }) => id);
    order.splice(to, 0, ...order.splice(from, 1));
    this.#take(await this.api.orderRoles(this.#server.id, order));
  }

  /** Fills the form with a role, or empties it for a new one. */
  #edit(role) {
    this.#edited = role;
    const { name, coloured, colour, hoisted } = this.form.elements;
    name.value = role?.name ?? "";
    coloured.checked = Boolean(role?.colour);
    colour.value = role?.colour || NEW_COLOUR;
    hoisted.checked = Boolean(role?.hoisted);
    byId("role-form-title").textContent = role ? `Change ${role.name}` : "New role";
    byId("role-form-submit").textContent = role ? "Save" : "Create role";
    byId("role-form-cancel").hidden = role === null;
    setNote(this.error, "");
    if (role) name.focus();
  }

  async #save() {
    const { name, coloured, colour, hoisted } = this.form.elements;
    const content = {
      name: name.value.trim(),
      colour: coloured.checked ? colour.value : "",
      hoisted: hoisted.checked,
    };
    if (!content.name) throw new Error("Give the role a name.");
    if (this.#edited) await this.api.editRole(this.#edited, content);
    else await this.api.createRole(this.#server.id, content);
    this.#edit(null);
    await this.#reload();
    name.focus();
  }

  async #reload() {
    this.#take(await this.api.roles(this.#server.id));
    if (this.#holder) this.#drawHolder(await this.api.rolesOf(this.#server.id, this.#holder.id));
  }

  async #find() {
    const wanted = this.holderForm.elements.name.value.trim();
    this.#holder = null;
    this.#drawHolder([]);
    const user = wanted && (await this.api.userNamed(wanted));
    if (!user) throw new Error(wanted ? `There is no user named ${wanted}.` : "Enter a name.");
    const held = await this.api.rolesOf(this.#server.id, user.id);
    this.#holder = user;
    this.#drawHolder(held);
  }

  // One box for each role of the server: checked for those that the user has.
  #drawHolder(held) {
    const user = this.#holder;
    this.holderRoles.hidden = user === null;
    const has = new Set(held.map(({ id }) => id));
    const boxes = user === null ? [] : this.#roles.map((role) => this.#box(role, user, has.has(role.id)));
    const legend = h("legend", {}, "Roles of ", h("bdi", { text: user?.username ?? "" }));
    this.holderRoles.replaceChildren(legend, ...boxes);
  }

  #box(role, user, checked) {
    const box = checkbox(role, checked);
    box.input.addEventListener("change", () =>
      this.#try(async () => {
        try {
          await this.api.setRole(role, user.id, box.input.checked);
        } catch (error) {
          box.input.checked = !box.input.checked;
          throw error;
        }
      }),
    );
    return box.label;
  }
}

/** Chooses the roles to which a room is limited. */
export class LimitDialog {
  #room = null;

  /** `limited(room)` is called with a room that was limited, or opened. */
  constructor({ api, limited }) {
    this.api = api;
    this.boxes = byId("limit-roles");
    this.dialog = bindDialog("limit", async () => {
      const checked = [...this.boxes.querySelectorAll("input:checked")].map(({ value }) => value);
      limited(await api.limitRoom(this.#room.id, checked));
    });
  }

  /** Opens the dialog for a room of a server that the user owns. */
  async open(room) {
    this.#room = room;
    const [all, limits] = await Promise.all([this.api.roles(room.server_id), this.api.rolesOfRoom(room.id)]);
    const has = new Set(limits.map(({ id }) => id));
    byId("limit-dialog-title").textContent = `Who may read ${room.name}`;
    this.boxes.replaceChildren(...all.map((role) => checkbox(role, has.has(role.id)).label));
    setNote(byId("limit-empty"), all.length === 0 ? "This server has no roles yet." : "");
    this.dialog.open();
  }
}

function checkbox(role, checked) {
  const input = h("input", { type: "checkbox", value: role.id, checked });
  const label = h("label", { class: "check" }, input, swatch(role), h("bdi", { text: role.name }));
  return { input, label };
}

function swatch({ colour }) {
  const node = h("i", { class: "swatch", "aria-hidden": "true" });
  if (colour) node.style.setProperty("--role", colour);
  return node;
}
