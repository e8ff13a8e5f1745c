// The page: the session, the open room, and the panels around it.

import { Api } from "./api.mjs";
import { Composer } from "./composer.mjs";
import { Connection } from "./connection.mjs";
import { byId, paintAvatar, setNote } from "./dom.mjs";
import { Inbox } from "./inbox.mjs";
import { Members } from "./members/members.mjs";
import { MessageView } from "./message-view.mjs";
import { Online } from "./online.mjs";
import { RoomList } from "./room-list.mjs";
import { Room } from "./room.mjs";
import { Session } from "./session.mjs";
import { StatusMenu } from "./status-menu.mjs";
import { bindTheme } from "./theme.mjs";
import { Welcome } from "./welcome.mjs";

const SOCKET_URL = "/chat/socket";
const BANNER_AFTER_MS = 1500;
const STATE_TEXT = {
  connecting: "Connecting…",
  open: "Connected",
  reconnecting: "Reconnecting…",
  offline: "You are offline",
};

class App {
  constructor() {
    this.session = new Session();
    const asked = new URLSearchParams(location.search);
    this.askedRoom = asked.get("room");
    this.api = new Api({ token: () => this.session.token, tenant: asked.get("tenant") });
    this.welcome = new Welcome({ api: this.api, entered: (token, user, how) => this.#enter(token, user, how) });
    this.rooms = new RoomList({ api: this.api, opened: (room) => this.#open(room) });
    this.messages = new MessageView({
      log: byId("log"),
      list: byId("messages"),
      top: byId("log-top"),
      pill: byId("new-messages"),
    });
    this.composer = new Composer();
    this.online = new Online();
    this.members = new Members();
    this.status = new StatusMenu({ changed: (status) => this.room?.setStatus(status) });
    this.connection = null;
    this.room = null;
    this.trouble = "";
    bindTheme(byId("theme"));
    byId("sign-out").addEventListener("click", () => this.#signOut());
    this.#bindPanels();
    globalThis.addEventListener("hashchange", () => this.#openFromAddress());
  }

  start() {
    if (this.session.token) this.#begin();
    else this.welcome.show();
  }

  #enter(token, user, how) {
    this.session.keep(token, user, how);
    this.welcome.hide();
    this.#begin();
    if (how.guest) byId("announce").textContent = `You are ${user.username}`;
  }

  async #begin() {
    const { user } = this.session;
    byId("app").hidden = false;
    byId("me-name").textContent = user.username;
    this.status.show(user);
    paintAvatar(byId("me-avatar"), user.id, user.username);
    this.#connect();
    this.rooms.allowCreate(!user.guest);
    await this.rooms.load();
    this.#openFromAddress();
  }

  #connect() {
    this.connection = new Connection({
      url: SOCKET_URL,
      token: () => this.session.token,
      isTokenGood: () => this.#isTokenGood(),
      isServerUp: () => this.api.isUp(),
    });
    this.inbox = new Inbox({ socket: this.connection.socket, user: this.session.user });
    this.inbox.addEventListener("room_created", ({ detail }) => this.rooms.add(detail));
    this.inbox.addEventListener("room_removed", ({ detail }) => this.#onRemoved(detail));
    this.inbox.addEventListener("rejoined", () => this.rooms.load());
    this.inbox.join();
    this.connection.addEventListener("change", () => this.#drawConnection());
    this.connection.addEventListener("refused", () => this.#end("Your session has ended. Please come in again."));
    this.connection.connect();
    this.#drawConnection();
  }

  async #isTokenGood() {
    try {
      await this.api.me();
      return true;
    } catch (error) {
      return error.status !== 401 && error.status !== 403;
    }
  }

  async #signOut() {
    await this.api.logout().catch(() => {});
    this.#end("");
  }

  #end(message) {
    this.#close();
    this.connection?.close();
    this.connection = null;
    this.session.forget();
    byId("app").hidden = true;
    this.welcome.show(message);
  }

  // The room in the address (#/room/<id>, or ?room=<name> where a site embeds the page), else the first.
  async #openFromAddress() {
    if (!this.connection) return;
    const id = location.hash.match(/^#\/room\/(.+)$/)?.[1];
    const asked = id && (await this.#find(decode(id)));
    const room = asked || this.rooms.named(this.askedRoom) || this.rooms.first();
    if (room && room.id !== this.room?.info.id) this.#open(room);
  }

  // A room that is not listed, because it is new or there are too many, is asked for.
  async #find(id) {
    const listed = this.rooms.find(id);
    if (listed) return listed;
    try {
      const room = await this.api.room(id);
      this.rooms.add(room);
      return room;
    } catch {
      return null;
    }
  }

  // The room is deleted, or the user is no member of it any more. What was said stays to be read.
  async #onEnded(room) {
    let text = "You are not a member of this room any more.";
    try {
      await this.api.room(room.info.id);
    } catch (error) {
      if (error.status === 404) text = "This room was deleted.";
      this.rooms.remove(room.info.id);
    }
    if (room !== this.room) return;
    this.trouble = text;
    this.composer.show(null);
    this.online.show(null);
    this.members.show(null);
    this.#drawBanner();
  }

  #onRemoved({ id }) {
    this.rooms.remove(id);
  }

  #open(info) {
    this.#showPanel(null);
    if (this.room?.info.id === info.id) return;
    this.#close();
    const room = new Room({
      info,
      socket: this.connection.socket,
      api: this.api,
      me: this.session.user,
      status: () => this.status.status,
    });
    this.room = room;
    room.addEventListener("trouble", (event) => {
      this.trouble = event.detail;
      this.#drawBanner();
    });
    room.addEventListener("ended", () => this.#onEnded(room));
    this.rooms.select(info.id);
    byId("room-name").textContent = info.name;
    byId("room-topic").textContent = info.description ?? "";
    document.title = `#${info.name} · headcount`;
    history.replaceState(null, "", `#/room/${encodeURIComponent(info.id)}`);
    this.messages.show(room);
    this.composer.show(room);
    this.online.show(room);
    this.members.show(room);
    this.#join(room);
    if (matchMedia("(pointer: fine)").matches) this.composer.focus();
  }

  // An account becomes a member of a public room by entering it; a guest is in all of them.
  async #join(room) {
    try {
      if (!this.session.user.guest) await this.api.joinRoom(room.info.id);
    } catch (error) {
      if (room !== this.room) return;
      this.trouble = error.message;
      this.#drawBanner();
      return;
    }
    if (room === this.room) room.join();
  }

  #close() {
    this.room?.leave();
    this.room = null;
    this.trouble = "";
    this.messages.show(null);
    this.composer.show(null);
    this.online.show(null);
    this.members.show(null);
    this.#drawBanner();
  }

  #drawConnection() {
    const state = this.connection?.state ?? "connecting";
    byId("connection").dataset.state = state;
    byId("connection-text").textContent = STATE_TEXT[state];
    clearTimeout(this.bannerTimer);
    // A short interruption shows no banner.
    if (state === "open") this.#drawBanner();
    else this.bannerTimer = setTimeout(() => this.#drawBanner(), BANNER_AFTER_MS);
  }

  #drawBanner() {
    const state = this.connection?.state ?? "open";
    const lost = {
      reconnecting: "The connection was lost. Reconnecting…",
      offline: "You are offline. The page reconnects on its own.",
    }[state];
    setNote(byId("banner"), lost ?? this.trouble);
  }

  // On narrow screens the side panels lie over the chat, one at a time.
  #bindPanels() {
    document.addEventListener("click", (event) => {
      const action = event.target.closest("[data-action]")?.dataset.action;
      if (action === "show-rooms") this.#showPanel("rooms");
      if (action === "close-panels") this.#showPanel(null);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#showPanel(null);
    });
    byId("toggle-members").addEventListener("click", () => {
      if (matchMedia("(max-width: 1000px)").matches)
        this.#showPanel(byId("app").dataset.panel === "members" ? null : "members");
      else byId("app").classList.toggle("members-hidden");
      this.#drawToggle();
    });
  }

  #showPanel(panel) {
    const app = byId("app");
    if (panel) app.dataset.panel = panel;
    else delete app.dataset.panel;
    byId("scrim").hidden = !panel;
    this.#drawToggle();
  }

  #drawToggle() {
    const app = byId("app");
    const narrow = matchMedia("(max-width: 1000px)").matches;
    const shown = narrow ? app.dataset.panel === "members" : !app.classList.contains("members-hidden");
    byId("toggle-members").setAttribute("aria-expanded", String(shown));
  }
}

// An address may be cut anywhere.
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

new App().start();
