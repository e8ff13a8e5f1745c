// One joined room: its channel, its messages, the users online and typing. It does not touch the page.

import { Presence } from "./vendor/phoenix.mjs";
import { sentence } from "./api.mjs";
import { request } from "./headcount/index.mjs";
import { MessageStore, revision } from "./message-store.mjs";

const PAGE = 50;
const PAGE_MAX = 100;
const GAP_PAGES_MAX = 10;
const TYPING_EVERY_MS = 2500;
const GONE = new Set(["not found", "not a member"]);
const TYPING_SHOWN_MS = 6000;

/**
 * Events: `messages` (detail: {added, how}), `online`, `typing`, `arrived` and `left` (detail: name), `joined`,
 * `trouble` (detail: text, empty when over), `member_list` (detail: bundle), `ended` (the room is gone for this user).
 */
export class Room extends EventTarget {
  #typingSentAt = 0;
  #typingTimer = null;
  #loading = null;
  #synced = false;
  #ended = false;

  constructor({ info, socket, api, me, status = () => null }) {
    super();
    this.info = info;
    this.api = api;
    this.me = me;
    this.store = new MessageStore();
    this.refused = "";
    this.online = new Map();
    this.counts = null;
    this.mode = "full";
    this.typing = new Map();
    const topic = `${info.kind === "dm" ? "dm" : "room"}:${info.id}`;
    this.channel = socket.channel(topic, () => (status() ? { status: status() } : {}));
    this.presence = new Presence(this.channel);
    this.#listen();
  }

  /** Gives up a room that cannot be joined: what was to be said there is not sent. */
  refuse(reason) {
    this.refused = reason;
    for (const pending of this.store.pending) pending.failed = reason;
    this.#emit("messages", { added: [], how: "sent" });
  }

  /** Joins; the channel rejoins on its own after every reconnect. */
  join() {
    this.channel
      .join()
      .receive("ok", (reply) => this.#onJoined(reply))
      .receive("error", (reply) => {
        this.#emit("trouble", joinTrouble(reply));
        if (GONE.has(reply?.reason)) this.#end();
      })
      .receive("timeout", () => this.#emit("trouble", "The room does not answer. Trying again…"));
  }

  leave() {
    clearTimeout(this.#typingTimer);
    for (const entry of this.typing.values()) clearTimeout(entry.timer);
    this.#ended = true;
    if (this.channel.joinedOnce) this.channel.leave();
  }

  /**
   * Sends a message, or one that failed before once more: under the same id, so that the server stores it once. The
   * pending message turns `failed`, with a reason, when it did not arrive.
   */
  send(content, failed = null) {
    const pending = failed ?? this.store.addPending(content, this.me);
    delete pending.failed;
    this.#sendStopTyping();
    if (this.refused) pending.failed = this.refused;
    else if (this.channel.joinedOnce) this.#push(pending);
    // Else it is sent once the room is joined.
    this.#emit("messages", { added: [], how: "sent" });
  }

  #push(pending) {
    const fail = (reason) => {
      // The message itself may have come meanwhile.
      if (!this.store.pending.includes(pending)) return;
      pending.failed = reason;
      this.#emit("messages", { added: [], how: "sent" });
    };
    this.channel
      .push("new_message", { content: pending.content, client_id: pending.client_id })
      .receive("ok", (message) => this.#onMessage(withUser(message, this.me)))
      .receive("error", (reply) => fail(sendTrouble(reply)))
      .receive("timeout", () => fail("The server did not answer."));
  }

  discard(pending) {
    this.store.settle(pending);
    this.#emit("messages", { added: [], how: "sent" });
  }

  /** Changes the content of a message; the promise rejects with the reason. */
  async edit(message, content) {
    this.#change(await this.request("edit_message", { id: message.id, content }));
  }

  /** Deletes a message; the promise rejects with the reason. */
  async remove(message) {
    this.#change(await this.request("delete_message", { id: message.id }));
  }

  /** Returns whether the user may change a message: its author and the admins of the room may. */
  mayChange(message) {
    if (message.pending || message.deleted) return false;
    return message.user?.id === this.me.id || (this.info.kind !== "dm" && this.info.owner_id === this.me.id);
  }

  /** Loads the page before the oldest message held. */
  loadOlder() {
    const oldest = this.store.oldest;
    if (this.#loading || !this.store.hasOlder || !oldest) return this.#loading;
    this.#loading = this.api
      .messages(this.info, { limit: PAGE, beforeId: oldest.id })
      .then((page) => {
        const list = page ?? [];
        this.store.hasOlder = list.length === PAGE;
        this.#emit("messages", { added: this.store.add(list), how: "older" });
      })
      .finally(() => {
        this.#loading = null;
      });
    return this.#loading;
  }

  /** To be called on every edit of the message box: notifies the others at most every few seconds. */
  typed(isEmpty) {
    if (isEmpty) return this.#sendStopTyping();
    clearTimeout(this.#typingTimer);
    this.#typingTimer = setTimeout(() => this.#sendStopTyping(), TYPING_SHOWN_MS - 1000);
    const now = Date.now();
    if (now - this.#typingSentAt < TYPING_EVERY_MS || this.channel.state !== "joined") return undefined;
    this.#typingSentAt = now;
    this.channel.push("typing", {});
    return undefined;
  }

  /**
   * Pushes on the room's channel; the promise rejects with an Error that states the reason, and when to
   * try again (`retryAfterMs`) if it was too early.
   */
  request(event, payload) {
    return request(this.channel, event, payload).catch((error) => {
      throw Object.assign(error, { message: sentence(error.message) });
    });
  }

  #sendStopTyping() {
    clearTimeout(this.#typingTimer);
    if (this.#typingSentAt === 0) return;
    this.#typingSentAt = 0;
    if (this.channel.state === "joined") this.channel.push("stop_typing", {});
  }

  #listen() {
    const { channel, presence } = this;
    channel.on("message_history", ({ messages }) => this.#onHistory(messages ?? []));
    channel.on("new_message", (message) => this.#onMessage(message));
    channel.on("message_updated", (change) => this.#change(change));
    channel.on("message_deleted", ({ id }) => this.#change({ id, content: "", deleted: true }));
    channel.on("typing", (who) => this.#onTyping(who));
    channel.on("stop_typing", ({ user_id: id }) => this.#onStopTyping(id));
    channel.on("presence_count", (counts) => this.#onCounts(counts));
    channel.on("presence_mode", ({ mode }) => this.#onMode(mode));
    channel.on("member_list", (bundle) => this.#emit("member_list", bundle));
    channel.onError(() => {
      this.#synced = false;
    });
    channel.onClose(() => this.#end());
    presence.onJoin((id, before, now) => this.#onPresence("arrived", id, before, now));
    presence.onLeave((id, rest, gone) => this.#onPresence("left", id, rest.metas.length > 0 ? rest : null, gone));
    presence.onSync(() => {
      this.#synced = true;
      this.#readPresence();
    });
  }

  // The server ended the channel, or refuses it for good: the room is deleted, or the user is no member any more.
  #end() {
    if (this.#ended) return;
    this.leave();
    for (const pending of this.store.pending) pending.failed = "The room is closed.";
    this.#emit("messages", { added: [], how: "sent" });
    this.#emit("ended", null);
  }

  #onJoined(reply) {
    this.#onMode(reply?.presence ?? "full");
    this.#emit("trouble", "");
    this.#emit("joined", reply ?? {});
  }

  #onMode(mode) {
    this.mode = mode === "counts" ? "counts" : "full";
    if (this.mode === "full") this.counts = null;
    this.#emit("online", null);
  }

  #onCounts(counts) {
    this.counts = counts;
    this.#emit("online", null);
  }

  #readPresence() {
    this.online = new Map(
      this.presence.list((id, { metas, user }) => [id, { id, name: presenceName(id, metas, user), metas }]),
    );
    this.#emit("online", null);
  }

  // The first state is no series of joins, and a second tab of the same user is no join.
  #onPresence(event, id, others, { metas, user }) {
    if (!this.#synced || others || id === this.me.id) return;
    this.#emit(event, presenceName(id, metas, user));
    if (event === "left") this.#onStopTyping(id);
  }

  #onMessage(message) {
    const own = message.user?.id === this.me.id;
    if (message.user?.id) this.#onStopTyping(message.user.id);
    this.#emit("messages", { added: this.#add([message]), how: own ? "sent" : "new" });
  }

  #change(change) {
    if (this.store.change(change)) this.#emit("messages", { added: [], how: "changed" });
  }

  async #onHistory(list) {
    const first = this.store.newest === null;
    const gap = this.store.gapBefore(list);
    if (first) this.store.hasOlder = list.length >= PAGE;
    this.#emit("messages", { added: this.#add(list), how: first ? "first" : "new" });
    if (gap !== null) await this.#orTrouble(this.fillGap(gap, list[0].seq));
    // What was on its way when the connection was lost is not answered any more.
    for (const pending of this.store.pending) if (!pending.failed) this.#push(pending);
    if (!first && list.length > 0) await this.#orTrouble(this.#readAgain(gap === null ? list[0].seq : gap + 1));
  }

  #orTrouble(loading) {
    return loading.catch((error) => {
      this.#emit("trouble", `Some messages could not be loaded. ${error.message}`);
    });
  }

  // Reads the messages again that are held from before `until`: while the connection was lost, nothing told of changes.
  async #readAgain(until) {
    let read = 0;
    for (;;) {
      const next = this.store.messages.find(({ seq }) => seq > read && seq < until);
      if (!next || this.#ended) return;
      const asked = new Map(this.store.messages.map((message) => [message.id, revision(message)]));
      const list = (await this.api.messages(this.info, { limit: PAGE_MAX, afterSeq: next.seq - 1 })) ?? [];
      // What was sent meanwhile is newer than the answer.
      const isAsked = ({ id }) => asked.has(id) && asked.get(id) === revision(this.store.byId.get(id) ?? {});
      const changed = list.filter((message) => isAsked(message) && this.store.change(message));
      if (changed.length > 0) this.#emit("messages", { added: [], how: "changed" });
      read = Math.max(next.seq, list.at(-1)?.seq ?? 0);
    }
  }

  // Adds messages, and settles those of the user that they confirm.
  #add(list) {
    for (const message of list) if (message.user?.id === this.me.id) this.store.confirm(message.client_id);
    return this.store.add(list);
  }

  /** Loads messages that are missing between two that are held. */
  async fillGap(after, until) {
    let afterSeq = after;
    for (let page = 0; page < GAP_PAGES_MAX && afterSeq < until - 1; page += 1) {
      const list = (await this.api.messages(this.info, { limit: PAGE_MAX, afterSeq })) ?? [];
      if (list.length === 0) break;
      afterSeq = list[list.length - 1].seq;
      this.#emit("messages", { added: this.#add(list), how: "gap" });
    }
  }

  #onTyping({ user_id: id, username }) {
    if (!id || id === this.me.id) return;
    clearTimeout(this.typing.get(id)?.timer);
    const timer = setTimeout(() => this.#onStopTyping(id), TYPING_SHOWN_MS);
    this.typing.set(id, { name: username ?? "Someone", timer });
    this.#emit("typing", null);
  }

  #onStopTyping(id) {
    const entry = this.typing.get(id);
    if (!entry) return;
    clearTimeout(entry.timer);
    this.typing.delete(id);
    this.#emit("typing", null);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function withUser(message, me) {
  return message.user ? message : { ...message, user: me };
}

function presenceName(id, metas, user) {
  return user?.username ?? metas?.[0]?.username ?? metas?.[0]?.name ?? id;
}

function joinTrouble(reply) {
  const reason = reply?.reason ?? "refused";
  const words = {
    "not found": "This room does not exist any more.",
    "not a member": "You are not a member of this room.",
    "too many channels joined": "Too many rooms are open at once.",
  };
  return words[reason] ?? `The room cannot be joined: ${sentence(reason)}`;
}

function sendTrouble(reply) {
  const wait = Number(reply?.retry_after_ms);
  if (wait > 0) return `Too many messages at once. Try again in ${Math.ceil(wait / 1000)} s.`;
  const listed = reply?.errors ? `The message ${Object.values(reply.errors).flat().join(", ")}` : null;
  return sentence(listed ?? reply?.reason ?? "refused");
}
