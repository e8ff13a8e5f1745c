// The messages of one room in order, each once, with pending ones at the end.

/** Messages are ordered by `seq`; the store knows whether older ones exist and whether some are missing. */
export class MessageStore {
  constructor() {
    this.messages = [];
    this.pending = [];
    this.hasOlder = true;
    this.byId = new Map();
  }

  get oldest() {
    return this.messages[0] ?? null;
  }

  get newest() {
    return this.messages[this.messages.length - 1] ?? null;
  }

  /** Adds messages from any source; returns those that were new. */
  add(list) {
    // What is held may have been edited since.
    for (const message of list) if (this.byId.has(message?.id)) this.change(message);
    const fresh = list.filter((message) => message?.id && !this.byId.has(message.id));
    if (fresh.length === 0) return fresh;
    for (const message of fresh) this.byId.set(message.id, message);
    this.messages.push(...fresh);
    if (!isSorted(this.messages)) this.messages.sort(bySeq);
    return fresh;
  }

  /** Takes up what has changed of a message; a deleted one changes no more. Returns whether it is held and differs. */
  change({ id, content, edited_at: editedAt, deleted }) {
    const message = this.byId.get(id);
    if (!message || message.deleted) return false;
    const before = revision(message);
    message.content = content;
    if (editedAt) message.edited_at = editedAt;
    if (deleted) message.deleted = true;
    return revision(message) !== before;
  }

  /**
   * Returns the sequence number after which messages are missing when `list` (the newest page) arrives, or null. A page
   * that reaches back to a message held here, or a first page, leaves no gap.
   */
  gapBefore(list) {
    const newest = this.newest;
    const first = list[0];
    if (!newest || !first || !Number.isFinite(first.seq) || !Number.isFinite(newest.seq)) return null;
    return first.seq > newest.seq + 1 ? newest.seq : null;
  }

  /** Returns how many messages are missing between two neighbours: the numbers in a room have no holes. */
  static missing(before, message) {
    if (!Number.isFinite(before?.seq) || !Number.isFinite(message?.seq)) return 0;
    return Math.max(0, message.seq - before.seq - 1);
  }

  /** Adds a pending message of the user; it is last until `settle` or `confirm`. */
  addPending(content, user) {
    const clientId = randomId();
    const message = {
      id: `pending-${clientId}`,
      client_id: clientId,
      content,
      user,
      inserted_at: new Date().toISOString(),
      pending: true,
    };
    this.pending.push(message);
    return message;
  }

  /** Removes a pending message that was given up. */
  settle(message) {
    this.pending = this.pending.filter((other) => other !== message);
  }

  /** Removes the pending message that the server has stored under this id. */
  confirm(clientId) {
    if (clientId) this.pending = this.pending.filter((other) => other.client_id !== clientId);
  }

  /** Forgets old messages beyond `keep`; they can be loaded again. */
  trim(keep) {
    if (this.messages.length <= keep) return;
    for (const message of this.messages.splice(0, this.messages.length - keep)) this.byId.delete(message.id);
    this.hasOlder = true;
  }
}

/** Returns a text that differs whenever what a message shows differs. */
export function revision({ content, edited_at: editedAt, deleted }) {
  return JSON.stringify([content, editedAt ?? null, Boolean(deleted)]);
}

// `crypto.randomUUID` exists on pages of HTTPS and localhost only.
export function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function bySeq(a, b) {
  return (a.seq ?? 0) - (b.seq ?? 0) || (a.inserted_at < b.inserted_at ? -1 : a.inserted_at > b.inserted_at ? 1 : 0);
}

function isSorted(messages) {
  return messages.every((message, i) => i === 0 || bySeq(messages[i - 1], message) <= 0);
}
