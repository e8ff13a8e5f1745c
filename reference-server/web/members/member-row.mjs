// The elements of the rows of members and headers.

import { formatCount, h, paintAvatar } from "../dom.mjs";
import { groupTitle } from "../headcount/index.mjs";

/** The height of a row, in step with members.css. */
export const ROW_PX = 40;
const SEEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** One recycled row of a list; `id` is that of its element, `list.active` the index of the active row. */
export class MemberRow {
  constructor(id, list) {
    this.list = list;
    this.avatar = h("span", { class: "avatar", "aria-hidden": "true" });
    this.dot = h("i", { class: "status", "aria-hidden": "true" });
    this.name = h("bdi", { class: "row-name" });
    this.tag = h("span", { class: "tag" });
    this.said = h("span", { class: "hidden" });
    this.element = h(
      "div",
      { class: "row", id, role: "option" },
      this.avatar,
      this.dot,
      this.name,
      " ",
      this.tag,
      " ",
      this.said,
    );
    /** The row drawn last. A client never changes a row in place: one that differs is another object. */
    this.drawn = undefined;
  }

  hide() {
    this.element.hidden = true;
    this.#select(false);
  }

  #select(active) {
    this.element.classList.toggle("active", active);
    this.element.setAttribute("aria-selected", String(active));
  }

  show({ index, top, row, total }) {
    const { element } = this;
    element.hidden = false;
    element.style.top = `${top}px`;
    if (element.dataset.index !== String(index)) element.dataset.index = index;
    element.setAttribute("aria-posinset", index + 1);
    element.setAttribute("aria-setsize", total);
    this.#fill(row);
    this.#select(index === this.list.active);
  }

  #fill(row) {
    if (row === this.drawn) return;
    this.drawn = row;
    const kind = row === null ? "skeleton" : row.id === undefined ? "header" : "member";
    const { element } = this;
    element.className = `row ${kind === "header" ? "group-row" : kind}`;
    element.title = "";
    if (kind === "skeleton") {
      this.name.textContent = "";
      this.#paintName(null);
      this.said.textContent = "Loading";
    } else if (kind === "header") {
      const text = headerText(groupTitle(row.group), row.count);
      this.name.textContent = text;
      this.#paintName(null);
      this.said.textContent = "members";
    } else {
      this.#fillMember(row);
    }
  }

  // The style sheet makes the colour of a role one that can be read.
  #paintName(colour) {
    this.name.classList.toggle("coloured", colour !== null);
    if (colour === null) this.name.style.removeProperty("--role");
    else this.name.style.setProperty("--role", colour);
  }

  #fillMember({ id, body = {} }) {
    const { element } = this;
    const name = body.name ?? body.username ?? id;
    const status = body.status ?? "offline";
    const tag = body.simulated ? "simulated" : body.guest ? "guest" : "";
    paintAvatar(this.avatar, id, name);
    this.name.textContent = name;
    this.#paintName(body.colour ?? null);
    this.dot.dataset.status = status;
    this.tag.textContent = tag;
    this.tag.hidden = !tag;
    element.dataset.status = status;
    const seen = new Date(body.last_seen_at ?? "");
    element.title = Number.isFinite(seen.getTime()) ? `Last seen ${SEEN.format(seen)}` : "";
    this.said.textContent = groupTitle(status);
  }
}

/** Returns the text of the header of a group. */
export function headerText(name, count) {
  return `${name} — ${formatCount(count)}`;
}
