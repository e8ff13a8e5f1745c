// Messages that the user has not read yet.

import { h } from "./dom.mjs";

const SHOWN_MAX = 99;

/** Returns the number of messages of a room that the user has not read; 0 for one that is no member. */
export function unreadOf({ last_seq: last, read_seq: read }) {
  return Number.isFinite(last) && Number.isFinite(read) ? Math.max(0, last - read) : 0;
}

/** Returns how many messages of these rooms are unread, and how many of them name the user. */
export function sumOf(rooms) {
  const sum = { unread: 0, mentions: 0 };
  for (const room of rooms) {
    const unread = unreadOf(room);
    sum.unread += unread;
    if (unread > 0) sum.mentions += room.mentions ?? 0;
  }
  return sum;
}

/** Returns the mark of unread messages on an item of a list, or null; of those that name the user if there are some. */
export function badge({ unread, mentions }) {
  if (unread === 0) return null;
  const props = { "aria-label": wordsFor({ unread, mentions }) };
  if (mentions === 0) return h("span", { ...props, class: "badge", text: short(unread) });
  return h("span", { ...props, class: "badge mention", text: `@${short(mentions)}` });
}

/** Returns what such a mark says. */
export function wordsFor({ unread, mentions }) {
  return mentions === 0 ? `${unread} unread` : `${unread} unread, ${mentions} of them for you`;
}

function short(count) {
  return count > SHOWN_MAX ? `${SHOWN_MAX}+` : String(count);
}

/** Tells the server what is read, when the reader pauses. */
export class ReadMarks {
  // By room.
  #timers = new Map();

  constructor(api) {
    this.api = api;
  }

  /** Notes that a room is read up to `seq`. */
  note(id, seq) {
    clearTimeout(this.#timers.get(id));
    const tell = () => {
      this.#timers.delete(id);
      // The next message tries it again.
      this.api.markRead(id, seq).catch(() => {});
    };
    this.#timers.set(id, setTimeout(tell, 300));
  }
}
