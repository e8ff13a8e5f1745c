// The message box: grows with its text, Enter sends, Shift+Enter breaks the line.

import { byId, formatCount, setNote } from "./dom.mjs";

const CONTENT_MAX = 4000;
const COUNT_FROM = 3500;

/** Sends to one room at a time and keeps an unsent draft for each. */
export class Composer {
  #room = null;
  #drafts = new Map();

  constructor() {
    this.text = byId("composer-text");
    this.button = byId("send");
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.text.addEventListener("input", () => {
      this.#room?.typed(this.text.value.trim() === "");
      this.#draw();
    });
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
  }

  /** Writes to another room, or to none. */
  show(room) {
    if (this.#room) this.#drafts.set(this.#room.info.id, this.text.value);
    this.#room = room;
    this.text.disabled = !room;
    this.text.value = (room && this.#drafts.get(room.info.id)) ?? "";
    this.text.placeholder = room ? `Message ${titleOf(room.info)}` : "Message";
    this.#draw();
  }

  focus() {
    this.text.focus({ preventScroll: true });
  }

  #send() {
    const content = this.text.value.trim();
    if (!this.#room || content === "" || length(content) > CONTENT_MAX) return;
    this.#room.send(content);
    this.text.value = "";
    this.#draw();
    this.focus();
  }

  #draw() {
    const { text } = this;
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight}px`;
    const used = length(text.value.trim());
    const over = used - CONTENT_MAX;
    this.button.disabled = !this.#room || used === 0 || over > 0;
    setNote(byId("composer-count"), used >= COUNT_FROM ? `${CONTENT_MAX - used}` : "");
    setNote(byId("composer-error"), excess(text.value.trim()));
  }
}

function titleOf({ kind, name, peer }) {
  return kind === "dm" ? `@${peer.username}` : `#${name}`;
}

/** Returns by how much a text is too long for a message, in words; "" if it is not. */
export function excess(text) {
  const over = length(text) - CONTENT_MAX;
  if (over <= 0) return "";
  const characters = over === 1 ? "character" : "characters";
  return `Too long by ${formatCount(over)} ${characters}: a message has at most ${CONTENT_MAX}.`;
}

// Characters as users count them, approximately: code points.
function length(text) {
  return [...text].length;
}
