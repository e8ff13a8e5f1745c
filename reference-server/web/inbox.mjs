// The user's own channel: what happens to rooms that are not open.

/** Emits `room_created` (detail: the room), `room_removed` (detail: {id}), `rejoined` when events may be missing. */
export class Inbox extends EventTarget {
  #joined = false;

  constructor({ socket, user }) {
    super();
    this.channel = socket.channel(`user:${user.id}`);
    for (const event of ["room_created", "room_removed"])
      this.channel.on(event, (detail) => this.dispatchEvent(new CustomEvent(event, { detail })));
  }

  join() {
    this.channel.join().receive("ok", () => {
      if (this.#joined) this.dispatchEvent(new CustomEvent("rejoined"));
      this.#joined = true;
    });
  }
}
