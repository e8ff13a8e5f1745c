// Messages that the user has not read yet.

import { h } from "./dom.mjs";

const SHOWN_MAX = 99;

/** Returns the number of messages of a room that the user has not read; 0 for one that is no member. */
export function unreadOf({ last_seq: last, read_seq: read }) {
  return Number.isFinite(last) && Number.isFinite(read) ? Math.max(0, last - read) : 0;
}

/** Returns the mark of unread messages on a room in a list, or null; of those that name the user if there are some. */
export function badge(room) {
  const count = unreadOf(room);
  if (count === 0) return null;
  const mentions = room.mentions ?? 0;
  if (mentions === 0) return h("span", { class: "badge", text: short(count), "aria-label": `${count} unread` });
  const label = `${count} unread, ${mentions} of them for you`;
  return h("span", { class: "badge mention", text: `@${short(mentions)}`, "aria-label": label });
}

function short(count) {
  return count > SHOWN_MAX ? `${SHOWN_MAX}+` : String(count);
}

/** Tells the server what is read, when the reader pauses. */
export class ReadMarks {
  #timer = null;

  constructor(api) {
    this.api = api;
  }

  /** Notes that a room is read up to `seq`. */
  note(id, seq) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      // The next message, or the next visit, tries it again.
      this.api.markRead(id, seq).catch(() => {});
    }, 300);
  }
}
