// The user's own channel: what happens outside of the room that is open.

const EVENTS = [
  "room_created",
  "room_removed",
  "server_created",
  "server_removed",
  "category_created",
  "category_removed",
  "unread",
  "read",
  "mentioned",
  "dm_started",
  "invited",
  "status",
  "revoked",
];

/** The time over which pages ask again after a node has missed events: it tells all of them at once. */
const MISSED_MS = 5_000;

/**
 * Emits the events of the channel, with their payloads as detail; `status` also at every join; and `joined` then, and
 * when the node has missed events: what was fetched before may lack what happened since.
 */
export class Inbox extends EventTarget {
  constructor({ socket, user }) {
    super();
    this.channel = socket.channel(`user:${user.id}`);
    for (const event of EVENTS) this.channel.on(event, (detail) => this.#emit(event, detail));
    this.channel.on("missed", () => {
      setTimeout(() => this.#emit("joined", null), Math.random() * MISSED_MS);
    });
  }

  join() {
    this.channel.join().receive("ok", ({ status }) => {
      this.#emit("status", { status });
      this.#emit("joined", null);
    });
  }

  /** Chooses the status of the user, on all devices. */
  setStatus(status) {
    this.channel.push("set_status", { status });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
