// The message log: keyed rows, day lines, staying at the bottom, loading older ones at the top.

import { excess } from "./composer.mjs";
import { formatCount, h, icon, linkify, paintAvatar, setNote } from "./dom.mjs";
import { MessageStore, revision } from "./message-store.mjs";

const NEAR_BOTTOM_PX = 48;
const NEAR_TOP_PX = 240;
const GROUP_MS = 5 * 60 * 1000;
const KEEP = 400;
const LINES_MAX = 16;

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** Draws the messages of one room at a time into `log`. */
export class MessageView {
  #room = null;
  #nodes = new Map();
  #atBottom = true;
  #unseen = 0;
  #onMessages = (event) => this.#update(event.detail);

  constructor({ log, list, top, pill }) {
    Object.assign(this, { log, list, top, pill });
    log.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    pill.addEventListener("click", () => {
      this.toBottom(true);
      log.focus({ preventScroll: true });
    });
    new ResizeObserver(() => this.#atBottom && this.toBottom()).observe(log);
  }

  /** Returns whether the newest message is in view. */
  get isAtEnd() {
    return this.#atBottom && !document.hidden;
  }

  /** Shows another room, or none. */
  show(room) {
    this.#room?.removeEventListener("messages", this.#onMessages);
    this.#room = room;
    this.#nodes.clear();
    this.#atBottom = true;
    this.#setUnseen(0);
    if (room && this.list.dataset.room === room.info.id) this.toBottom();
    else this.#clear(room);
    room?.addEventListener("messages", this.#onMessages);
  }

  // What the server rendered stays until the same messages have come over the socket.
  #clear(room) {
    delete this.list.dataset.room;
    this.list.replaceChildren();
    setNote(this.top, room ? "Loading messages…" : "");
  }

  toBottom(smooth = false) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.log.scrollTo({ top: this.log.scrollHeight, behavior: smooth && !calm ? "smooth" : "instant" });
    this.#setUnseen(0);
  }

  #update({ added, how }) {
    const { log } = this;
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    const id = focused?.closest(".message").dataset.id;
    if (this.list.dataset.room) this.#clear(this.#room);
    const stick = this.#atBottom || how === "first" || how === "sent";
    if (stick && how !== "older" && how !== "gap" && how !== "changed") this.#room.store.trim(KEEP);
    const fromTop = log.scrollTop;
    const fromBottom = log.scrollHeight - log.scrollTop;
    log.setAttribute("aria-busy", String(how === "older" || how === "first" || how === "gap"));
    this.#reconcile();
    this.#drawTop();
    if (focused && !focused.checkVisibility()) refocus(this.#nodes.get(id), log);
    if (how === "changed" && !stick) log.scrollTop = fromTop;
    else if (how === "older") log.scrollTop = log.scrollHeight - fromBottom;
    else if (stick) this.toBottom();
    else if (how === "gap") log.scrollTop = fromTop;
    else this.#setUnseen(this.#unseen + added.length);
    requestAnimationFrame(() => {
      log.setAttribute("aria-busy", "false");
      this.#onScroll();
    });
  }

  #onScroll() {
    const { log } = this;
    this.#atBottom = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_BOTTOM_PX;
    if (this.#atBottom && this.#unseen > 0) this.#setUnseen(0);
    if (log.scrollTop < NEAR_TOP_PX) this.#loadOlder();
  }

  async #loadOlder() {
    const room = this.#room;
    if (!room?.store.hasOlder || !room.store.oldest) return;
    try {
      await room.loadOlder();
    } catch (error) {
      if (room !== this.#room) return;
      room.store.hasOlder = false;
      const retry = h("button", {
        class: "link",
        type: "button",
        text: "Try again",
        onclick: () => this.#retryOlder(room),
      });
      this.top.replaceChildren(`Older messages could not be loaded. ${error.message} `, retry);
    }
  }

  #retryOlder(room) {
    room.store.hasOlder = true;
    setNote(this.top, "Loading messages…");
    this.log.focus({ preventScroll: true });
    this.#loadOlder();
  }

  #drawTop() {
    const { store, info } = this.#room;
    if (store.hasOlder) setNote(this.top, "Loading messages…");
    else if (store.messages.length > 0) setNote(this.top, `This is where ${titleOf(info)} begins.`);
    else setNote(this.top, `Nobody has said anything in ${titleOf(info)} yet. Be the first.`);
  }

  // Rows are reused by id and only moved when out of place, so a new message touches one row.
  #reconcile() {
    const { store } = this.#room;
    const wanted = [...store.messages, ...store.pending];
    const kept = new Set(wanted.map((message) => message.id));
    for (const [id, node] of this.#nodes) {
      if (kept.has(id)) continue;
      node.remove();
      this.#nodes.delete(id);
    }
    let place = this.list.firstElementChild;
    wanted.forEach((message, i) => {
      let node = this.#nodes.get(message.id);
      const differs = node && node.dataset.revision !== revision(message);
      if (differs && isEdited(node)) redrawBehind(node, message);
      else if (differs) {
        const old = node;
        if (old === place) place = old.nextElementSibling;
        old.remove();
        node = null;
      }
      if (!node) {
        node = messageNode(message, this.#room.mayChange(message) ? this.#tools(message) : null);
        this.#nodes.set(message.id, node);
      }
      if (node === place) place = place.nextElementSibling;
      else this.list.insertBefore(node, place);
      decorate(node, message, wanted[i - 1]);
      this.#decorateGap(node, message, wanted[i - 1]);
      if (message.pending) this.#decoratePending(node, message);
    });
  }

  #tools(message) {
    const room = this.#room;
    const button = (name, text, onclick) =>
      h("button", { class: "icon-button small", type: "button", "aria-label": text, title: text, onclick }, icon(name));
    return h(
      "div",
      { class: "message-tools" },
      button("edit", "Edit message", (event) => editor(room, message, event.target.closest(".message"))),
      button("delete", "Delete message", (event) => remove(room, message, event.target.closest(".message"))),
    );
  }

  // A hole in the numbers is shown where it is, with a button that loads what is missing.
  #decorateGap(node, message, previous) {
    const missing = MessageStore.missing(previous, message);
    const gap = node.querySelector(".gap");
    gap.hidden = missing === 0;
    if (missing === 0 || gap.dataset.missing === `${previous.seq}-${missing}`) return;
    gap.dataset.missing = `${previous.seq}-${missing}`;
    const room = this.#room;
    const load = (event) => {
      event.target.disabled = true;
      room.fillGap(previous.seq, message.seq).catch((error) => {
        event.target.disabled = false;
        event.target.textContent = `${error.message} Try again`;
      });
    };
    const text = missing === 1 ? "1 message is not shown" : `${formatCount(missing)} messages are not shown`;
    gap.replaceChildren(`${text} `, h("button", { class: "link", type: "button", text: "Load them", onclick: load }));
  }

  #decoratePending(node, message) {
    node.classList.toggle("failed", Boolean(message.failed));
    node.classList.toggle("pending", !message.failed);
    const note = node.querySelector(".message-note");
    note.hidden = !message.failed;
    if (!message.failed || note.dataset.reason === message.failed) return;
    note.dataset.reason = message.failed;
    const room = this.#room;
    note.replaceChildren(
      `Not sent. ${message.failed} `,
      h("button", {
        class: "link",
        type: "button",
        text: "Try again",
        onclick: () => room.send(message.content, message),
      }),
      " ",
      h("button", { class: "link", type: "button", text: "Discard", onclick: () => room.discard(message) }),
    );
  }

  #setUnseen(count) {
    this.#unseen = count;
    this.pill.hidden = count === 0;
    this.pill.querySelector("span").textContent = count === 1 ? "1 new message" : `${count} new messages`;
  }
}

// Gives the focus to the first tool of a message, or to the log: what had it is gone.
function refocus(node, log = node.closest(".log")) {
  (node?.querySelector(".message-tools button") ?? log).focus({ preventScroll: true });
}

// Shows a box with the text of a message in its place: Enter saves, Escape gives up.
function editor(room, message, node) {
  if (isEdited(node)) return;
  const box = h("textarea", { class: "message-editor", rows: "1", "aria-label": "Edit message" });
  box.value = message.content;
  const end = () => endEdit(node);
  box.addEventListener("keydown", async (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      end();
    }
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    const content = box.value.trim();
    if (content === message.content || content === "") {
      end();
      return;
    }
    const over = excess(content);
    if (over !== "") {
      setNote(node.querySelector(".message-note"), over);
      return;
    }
    try {
      await room.edit(message, content);
      end();
    } catch (error) {
      setNote(node.querySelector(".message-note"), `Not saved. ${error.message}`);
    }
  });
  node.classList.add("editing");
  node.querySelector(".message-body").after(box);
  box.focus();
}

function isEdited(node) {
  return node.classList.contains("editing");
}

function endEdit(node) {
  const hadFocus = node.contains(document.activeElement);
  node.querySelector(".message-editor")?.remove();
  node.classList.remove("editing");
  setNote(node.querySelector(".message-note"), "");
  if (hadFocus) refocus(node);
}

// Draws what a message has become elsewhere. The box in which its user edits it stays as it is, and says so.
function redrawBehind(node, message) {
  node.dataset.revision = revision(message);
  node.querySelector(".message-more")?.remove();
  node.querySelector(".message-body").replaceWith(...messageBody(message));
  if (message.deleted) node.querySelector(".message-tools")?.remove();
  // What the user has written itself is no news.
  const isOwn = message.content === node.querySelector(".message-editor").value.trim();
  if (isOwn) return;
  const note = node.querySelector(".message-note");
  const [news, way] = message.deleted
    ? ["The message was deleted meanwhile.", "Discard your text"]
    : ["The message was changed meanwhile; Enter replaces it.", "Leave it as it is now"];
  note.hidden = false;
  note.replaceChildren(
    `${news} `,
    h("button", { class: "link", type: "button", text: way, onclick: () => endEdit(node) }),
  );
}

// Asks in the message itself before it is deleted.
function remove(room, message, node) {
  const note = node.querySelector(".message-note");
  const end = (text) => {
    setNote(note, text);
    refocus(node);
  };
  const choose = async () => {
    try {
      await room.remove(message);
    } catch (error) {
      end(`Not deleted. ${error.message}`);
    }
  };
  note.hidden = false;
  note.replaceChildren(
    "Delete this message? ",
    h("button", { class: "link", type: "button", text: "Delete", onclick: choose }),
    " ",
    h("button", { class: "link", type: "button", text: "Keep", onclick: () => end("") }),
  );
  note.querySelector("button").focus();
}

function messageNode(message, tools) {
  const name = message.user?.username ?? message.user?.name ?? "unknown";
  const time = new Date(message.inserted_at);
  const avatar = h("span", { class: "avatar", "aria-hidden": "true" });
  paintAvatar(avatar, message.user?.id ?? name, name);
  const known = Number.isFinite(time.getTime());
  const stamp = h("time", {
    datetime: message.inserted_at,
    title: known ? FULL.format(time) : "",
    text: known ? TIME.format(time) : "",
  });
  const author = h("bdi", { class: "author", text: name });
  author.style.setProperty("--hue", avatar.style.getPropertyValue("--hue"));
  return h(
    "li",
    { class: "message", "data-id": message.id, "data-revision": revision(message) },
    h("div", { class: "gap", hidden: true }),
    h("div", { class: "day", hidden: true }),
    avatar,
    h(
      "div",
      { class: "message-head" },
      author,
      isGuest(message.user) ? h("span", { class: "tag", text: "guest" }) : null,
      stamp,
    ),
    ...messageBody(message),
    tools,
    h("div", { class: "message-note", role: "alert", hidden: true }),
  );
}

// A message of very many lines is cut, with a button that shows it whole.
function messageBody(message) {
  if (message.deleted)
    return [h("div", { class: "message-body" }, h("em", { class: "gone", text: "Message deleted" }))];
  const content = String(message.content ?? "");
  const edited = message.edited_at ? h("small", { class: "edited", text: " (edited)" }) : null;
  const body = h("div", { class: "message-body", dir: "auto" }, ...linkify(content), edited);
  if (content.split("\n").length <= LINES_MAX) return [body];
  body.classList.add("cut");
  const whole = h("button", { class: "link message-more", type: "button", text: "Show all" });
  whole.addEventListener("click", () => {
    body.classList.remove("cut");
    refocus(null, whole.closest(".log"));
    whole.remove();
  });
  return [body, whole];
}

/** Returns the words for a room in a sentence. */
function titleOf({ kind, name, peer }) {
  return kind === "dm" ? `your conversation with ${peer.username}` : name;
}

function isGuest(user) {
  return Boolean(user?.guest ?? user?.is_guest);
}

// Day line and grouping depend on the message before.
function decorate(node, message, previous) {
  const time = new Date(message.inserted_at);
  const before = previous ? new Date(previous.inserted_at) : null;
  const newDay = Number.isFinite(time.getTime()) && (!before || before.toDateString() !== time.toDateString());
  const day = node.querySelector(".day");
  setNote(day, newDay ? DAY.format(time) : "");
  const grouped = !newDay && previous?.user?.id === message.user?.id && time - before < GROUP_MS;
  node.classList.toggle("grouped", Boolean(grouped));
}
