// The box over the member list: it shows whose names begin with a text, and jumps to one of them, to a group, a row
// number or a percentage.

import { byId, formatCount, h, setNote } from "../dom.mjs";
import { FoundList } from "./found-list.mjs";

/** Parses a text in the box, for a list of `rows`: a row's `index`, an `error` to show, or a `name` to find. */
export function parseJump(text, rows) {
  const trimmed = text.trim().replace(/[\s,.'_](?=\d{3}(\D|$))/g, "");
  const percent = trimmed.match(/^(\d+(?:\.\d+)?)\s*%$/);
  if (percent && Number(percent[1]) <= 100)
    return { index: Math.round((Number(percent[1]) / 100) * Math.max(0, rows - 1)) };
  const number = trimmed.match(/^#?(\d+)$/);
  if (number && Number(number[1]) >= 1 && Number(number[1]) <= rows) return { index: Number(number[1]) - 1 };
  if (trimmed && !/^[-#]?\d+\s*%?$/.test(trimmed)) return { name: text.trim() };
  return { error: `Enter a name, a row from 1 to ${formatCount(rows)}, or a percentage such as 50%.` };
}

/**
 * Opens under the panel's head; `panel` is a MemberPanel, `source` asks the server: it has the methods `find`, `search`
 * and `found` of a ListSession.
 */
export class JumpBox {
  #looked = { name: null, next: 0 };

  constructor(panel, source) {
    this.panel = panel;
    this.source = source;
    this.button = byId("members-jump");
    this.form = byId("jump-form");
    this.input = byId("jump-input");
    this.list = byId("jump-groups");
    this.note = byId("jump-note");
    this.found = new FoundList(this.input, {
      source,
      choose: (id) => this.panel.seek(`m:${id}`),
      note: (text) => setNote(this.note, text),
    });
    this.button.addEventListener("click", () => this.#toggle(this.form.hidden));
    this.input.addEventListener("input", () => this.#onInput());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.#onEscape();
    });
  }

  close() {
    this.#toggle(false);
  }

  /** Shows what is found, and changed counts on the groups' buttons. */
  draw() {
    if (this.form.hidden) return;
    this.found.draw();
    const { groups } = this.panel;
    const same =
      groups.length === this.list.childElementCount &&
      groups.every(({ group }, i) => this.list.children[i].dataset.group === group);
    if (!same) this.list.replaceChildren(...groups.map(({ group }) => this.#groupItem(group)));
    groups.forEach(({ name, count }, i) => {
      const text = `${name} ${formatCount(count)}`;
      const button = this.list.children[i].firstElementChild;
      if (button.textContent !== text) button.textContent = text;
    });
  }

  #groupItem(group) {
    const go = () => {
      const entry = this.panel.groups.find((other) => other.group === group);
      if (entry) this.#go(entry.first, `g:${group}`);
    };
    return h("li", { "data-group": group }, h("button", { type: "button", class: "chip", onclick: go }));
  }

  #toggle(open) {
    this.form.hidden = !open;
    this.button.setAttribute("aria-expanded", String(open));
    this.#say("");
    if (!open) return this.found.look("");
    this.#onInput();
    this.draw();
    this.input.focus();
    this.input.select();
  }

  #onInput() {
    this.#say("");
    this.found.look(parseJump(this.input.value, this.panel.rows).name ?? "");
  }

  // Empties the box first, then closes it.
  #onEscape() {
    if (this.input.value !== "") {
      this.input.value = "";
      this.#onInput();
      this.input.focus();
    } else {
      this.close();
      this.button.focus();
    }
  }

  #submit() {
    if (this.found.enter()) return;
    const { index, error, name } = parseJump(this.input.value, this.panel.rows);
    if (name) this.#lookFor(name);
    else if (error) this.#refuse(error);
    else this.#go(index);
  }

  // A name may occur in several groups: finding it again jumps to the next one.
  async #lookFor(name) {
    const next = this.#looked.name === name ? this.#looked.next : 0;
    try {
      const matches = await this.source.find(name);
      if (matches.length === 0) return this.#refuse(`Nobody's name begins with “${name}”.`);
      this.#looked = { name, next: next + 1 };
      const { index, id } = matches[next % matches.length];
      this.panel.seek(`m:${id}`, index);
      this.#say(
        matches.length > 1 ? `Group ${(next % matches.length) + 1} of ${matches.length}; Enter goes to the next.` : "",
      );
    } catch (error) {
      this.#refuse(error.message);
    }
    return undefined;
  }

  #say(text) {
    setNote(this.note, text);
    this.input.removeAttribute("aria-invalid");
  }

  #refuse(text) {
    setNote(this.note, text);
    this.input.setAttribute("aria-invalid", "true");
  }

  #go(index, key = null) {
    this.#say("");
    if (key) this.panel.seek(key, index);
    else this.panel.goTo(index);
    byId("members-scroll").focus();
  }
}
