// The users online: avatars and a count in the room's head, announced joins and leaves, the typing line.

import { byId, formatCount, h, paintAvatar } from "./dom.mjs";

const FACES = 5;
const ANNOUNCE_MAX_PER_S = 3;
const NOTICE_MS = 4000;

/** Shows the presence of one room at a time. */
export class Online {
  #room = null;
  #recent = [];
  #noticeTimer = null;
  #notice = "";
  #listeners = {
    online: () => this.#draw(),
    typing: () => this.#drawTyping(),
    arrived: (event) => this.#announce(`${event.detail} joined`),
    left: (event) => this.#announce(`${event.detail} left`),
  };

  show(room) {
    for (const [type, listener] of Object.entries(this.#listeners)) {
      this.#room?.removeEventListener(type, listener);
      room?.addEventListener(type, listener);
    }
    this.#room = room;
    this.#notice = "";
    this.#draw();
    this.#drawTyping();
  }

  #draw() {
    const room = this.#room;
    const box = byId("online");
    const count = room?.counts?.online ?? room?.online.size ?? 0;
    box.hidden = count === 0;
    byId("online-count").textContent = `${formatCount(count)} online`;
    const people = room && room.mode === "full" ? [...room.online.values()] : [];
    const faces = people.slice(0, FACES).map(({ id, name }) => {
      const face = h("span", { class: "avatar", role: "listitem", title: name, "aria-label": name });
      paintAvatar(face, id, name);
      return face;
    });
    byId("online-faces").replaceChildren(...faces);
    box.title = people
      .map(({ name }) => name)
      .slice(0, 30)
      .join(", ");
  }

  // Many joins at once are not announced one by one.
  #announce(text) {
    const now = Date.now();
    this.#recent = this.#recent.filter((at) => now - at < 1000);
    if (this.#recent.length >= ANNOUNCE_MAX_PER_S) return;
    this.#recent.push(now);
    byId("announce").textContent = text;
    this.#notice = text;
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => {
      this.#notice = "";
      this.#drawTyping();
    }, NOTICE_MS);
    this.#drawTyping();
  }

  #drawTyping() {
    const names = [...(this.#room?.typing.values() ?? [])].map(({ name }) => name);
    const line = byId("typing");
    const text = typingText(names) || this.#notice;
    if (line.textContent !== text) line.textContent = text;
    line.classList.toggle("dots", names.length > 0);
  }
}

/** "Ada is typing", "Ada and Bo are typing", "Several people are typing". */
export function typingText(names) {
  if (names.length === 0) return "";
  if (names.length === 1) return `${names[0]} is typing`;
  if (names.length <= 3) return `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]} are typing`;
  return "Several people are typing";
}
