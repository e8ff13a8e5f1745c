// The page: the session, the open room, and the panels around it.

import { Api } from "./api.mjs";
import { Composer } from "./composer.mjs";
import { Connection } from "./connection.mjs";
import { UserDialog, bindDialog } from "./dialogs.mjs";
import { DmList } from "./dm-list.mjs";
import { byId, paintAvatar, setNote } from "./dom.mjs";
import { Elsewhere } from "./elsewhere.mjs";
import { Inbox } from "./inbox.mjs";
import { Invites } from "./invites.mjs";
import { Members } from "./members/members.mjs";
import { MessageView } from "./message-view.mjs";
import { Online } from "./online.mjs";
import { Panels } from "./panels.mjs";
import { Review } from "./review.mjs";
import { RoomList } from "./room-list.mjs";
import { LimitDialog, RolesDialog } from "./roles.mjs";
import { Room } from "./room.mjs";
import { ServerRail } from "./server-rail.mjs";
import { Session, deviceName } from "./session.mjs";
import { StatusMenu } from "./status-menu.mjs";
import { bindTheme } from "./theme.mjs";
import { ReadMarks } from "./unread.mjs";
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
    const tenant = new URLSearchParams(location.search).get("tenant");
    this.api = new Api({ token: () => this.session.token, tenant });
    this.welcome = new Welcome({ api: this.api, entered: (token, user, how) => this.#enter(token, user, how) });
    this.rooms = new RoomList({
      api: this.api,
      picked: (id) => this.#openById(id),
      opened: (room) => this.#open(room),
    });
    this.servers = new ServerRail({
      api: this.api,
      picked: (server) => this.#showServer(server),
      categoryCreated: (category) => this.rooms.addCategory(category),
      unreadOf: (id) => this.elsewhere.of(id),
    });
    this.elsewhere = new Elsewhere({
      api: this.api,
      current: () => this.servers.current,
      changed: () => this.#drawElsewhere(),
    });
    this.dms = new DmList({ api: this.api, picked: (id) => this.#openDm(id) });
    const { dms, rooms, servers, elsewhere } = this;
    this.review = new Review({ dms, rooms, servers, elsewhere, changed: () => this.#drawTitle() });
    this.invites = new Invites({ api: this.api, accepted: (room) => this.#onAccepted(room) });
    this.users = new UserDialog(this.api);
    this.roles = new RolesDialog(this.api);
    this.limits = new LimitDialog({ api: this.api, limited: (room) => this.rooms.add(room) });
    this.readMarks = new ReadMarks(this.api);
    this.messages = new MessageView({
      log: byId("log"),
      list: byId("messages"),
      top: byId("log-top"),
      pill: byId("new-messages"),
    });
    this.composer = new Composer();
    this.online = new Online();
    this.members = new Members();
    this.status = new StatusMenu({ changed: (status) => this.inbox?.setStatus(status) });
    this.connection = null;
    /** Settles when the token that is being replaced or given up has been. */
    this.renewal = null;
    this.room = null;
    this.trouble = "";
    this.panels = new Panels();
    bindTheme(byId("theme"));
    byId("sign-out").addEventListener("click", () => this.#signOut());
    this.#bindDialogs();
    document.addEventListener("visibilitychange", () => this.#markRead());
    byId("log").addEventListener("scroll", () => this.#markRead(), { passive: true });
    globalThis.addEventListener("popstate", () => this.#openFromAddress());
  }

  start() {
    if (this.session.token) {
      this.#begin();
      return;
    }
    byId("app").hidden = true;
    this.welcome.show();
    this.welcome.takeBack();
    delete document.documentElement.dataset.entry;
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
    this.review.show(user);
    paintAvatar(byId("me-avatar"), user.id, user.username);
    this.#connect();
    byId("change-password").hidden = user.guest;
    await Promise.all([this.#loadServers(), this.dms.load(user), user.guest ? null : this.invites.load()]);
    this.#drawTitle();
    this.#openFromAddress();
  }

  #connect() {
    this.connection = new Connection({
      url: SOCKET_URL,
      token: () => this.session.token,
      device: deviceName(),
      isTokenGood: () => this.#isTokenGood(),
      isServerUp: () => this.api.isUp(),
    });
    this.inbox = new Inbox({ socket: this.connection.socket, user: this.session.user });
    this.inbox.addEventListener("room_created", ({ detail }) => this.rooms.add(detail));
    this.inbox.addEventListener("room_removed", ({ detail }) => this.#onRemoved(detail));
    this.inbox.addEventListener("server_created", ({ detail }) => this.servers.add(detail));
    this.inbox.addEventListener("server_removed", ({ detail }) => this.#onServerRemoved(detail));
    this.inbox.addEventListener("category_created", ({ detail }) => this.rooms.addCategory(detail));
    this.inbox.addEventListener("category_removed", ({ detail }) => this.rooms.removeCategory(detail.id));
    this.inbox.addEventListener("joined", () => this.#reload());
    this.inbox.addEventListener("unread", ({ detail }) => this.#onUnread(detail));
    this.inbox.addEventListener("read", ({ detail }) => this.#note(detail.room_id, { read_seq: detail.read_seq }));
    this.inbox.addEventListener("mentioned", ({ detail }) => this.#onMentioned(detail));
    this.inbox.addEventListener("dm_started", ({ detail }) => this.dms.add(detail.dm));
    this.inbox.addEventListener("invited", ({ detail }) => this.invites.add(detail));
    this.inbox.addEventListener("status", ({ detail }) => this.status.take(detail.status));
    this.inbox.addEventListener("revoked", () => this.#onRevoked());
    this.inbox.join();
    this.connection.addEventListener("change", () => this.#drawConnection());
    this.connection.addEventListener("refused", () => this.#end("Your session has ended. Please come in again."));
    this.connection.connect();
    this.#drawConnection();
  }

  // While a token is replaced or given up the server refuses it, which says nothing about the session.
  async #isTokenGood() {
    await this.renewal;
    const { token } = this.session;
    if (token === null) return true;
    try {
      await this.api.me();
      return true;
    } catch (error) {
      if (error.status !== 401 && error.status !== 403) return true;
      await this.renewal;
      return this.session.renew(token);
    }
  }

  // A new password ends this connection too, and gives a new token, to this tab or to another one.
  async #onRevoked() {
    if (!(await this.#isTokenGood())) this.#end("You have been signed out.");
  }

  #signOut() {
    const logout = this.api.logout().catch(() => {});
    this.renewal = logout.then(() => this.#end(""));
  }

  #end(message) {
    if (!this.connection) return;
    this.#close();
    this.connection?.close();
    this.connection = null;
    this.session.forget();
    byId("app").hidden = true;
    this.welcome.show(message);
  }

  async #loadServers() {
    try {
      await this.servers.load(this.session.user);
    } catch (error) {
      setNote(byId("rooms-error"), error.message);
      return;
    }
    this.#allowCreate();
    if (!this.session.user.guest) this.elsewhere.loadSoon();
    await this.rooms.load(this.servers.current);
  }

  #allowCreate() {
    const guest = this.session.user.guest;
    const reason = guest ? "Sign in to create a room" : "Only the owner of this server creates rooms";
    this.rooms.allowCreate(this.servers.mayCreate, reason);
  }

  // Lists the rooms of a server, and opens the first of them unless one of it is open.
  async #showServer(server) {
    this.elsewhere.keep(this.rooms.items);
    this.servers.select(server.id);
    this.#allowCreate();
    await this.rooms.load(server);
    const isShown = this.servers.current?.id === server.id;
    const first = this.rooms.first();
    if (isShown && first && !this.rooms.find(this.room?.info.id) && this.connection) this.#open(first);
  }

  #onServerRemoved({ id }) {
    if (this.servers.remove(id) && this.servers.first) this.#showServer(this.servers.first);
  }

  #reload() {
    this.#loadServers();
    this.dms.load(this.session.user);
    if (!this.session.user.guest) this.invites.load();
  }

  #listed(id) {
    return this.dms.find(id) ?? this.rooms.find(id) ?? this.elsewhere.find(id);
  }

  // The event names the message only. The one of the conversation that is open comes there.
  #onUnread({ room_id: id, last_seq: last }) {
    if (!this.#listed(id)) this.elsewhere.ask(id);
    this.#note(id, { last_seq: last });
    if (!this.rooms.find(id) && !this.elsewhere.find(id) && id !== this.room?.info.id) this.review.dmsSoon();
  }

  #drawElsewhere() {
    this.servers.draw();
    this.#drawTitle();
  }

  #onMentioned({ room_id: id, seq }) {
    const listed = this.#listed(id);
    if (!listed) this.elsewhere.ask(id);
    if (!listed || (listed.read_seq ?? 0) >= seq) return;
    const last = Math.max(listed.last_seq ?? 0, seq);
    this.#note(id, { last_seq: last, mentions: (listed.mentions ?? 0) + 1 });
  }

  #note(id, numbers) {
    const { last_seq: last = 0 } = { ...this.#listed(id), ...numbers };
    // Where nothing is unread, nothing that is unread names the user.
    const noted = numbers.read_seq >= last ? { ...numbers, mentions: 0 } : numbers;
    if (!this.dms.note(id, noted)) this.rooms.note(id, noted);
    this.elsewhere.note(id, noted);
    if (id === this.room?.info.id) this.#markRead();
    this.#drawTitle();
  }

  // What is at the end of the log, in a page that is seen, is read.
  #markRead() {
    const { room } = this;
    const newest = room?.store.newest?.seq;
    if (!newest || this.session.user.guest || !this.messages.isAtEnd) return;
    const { id } = room.info;
    const listed = this.#listed(id);
    if (!listed || (listed.read_seq ?? 0) >= newest) return;
    this.#note(id, { read_seq: newest, last_seq: Math.max(listed.last_seq ?? 0, newest) });
    this.readMarks.note(id, newest);
  }

  #drawTitle() {
    const { info } = this.room ?? {};
    const unread = this.rooms.sum.unread + this.dms.sum.unread + this.elsewhere.sum.unread;
    const name = info && (info.kind === "dm" ? `@${info.peer.username}` : `#${info.name}`);
    document.title = `${unread > 0 ? `(${unread}) ` : ""}${name ? `${name} · ` : ""}headcount`;
  }

  // The room in the address (?room=<id or name>, or ?dm=<id>), else the first.
  async #openFromAddress() {
    if (!this.connection) return;
    const asking = new URLSearchParams(location.search);
    const dm = this.dms.find(asking.get("dm"));
    if (dm) {
      this.#open(dm);
      return;
    }
    const name = asking.get("room");
    const asked = name && (this.rooms.named(name) ?? (await this.#find(name)));
    const room = asked || this.rooms.first();
    if (room && room.id !== this.room?.info.id) this.#open(room);
  }

  #setAddress({ id, kind }, former) {
    const address = new URL(location.href);
    const before = address.searchParams.get("dm") ?? address.searchParams.get("room");
    const key = kind === "dm" ? "dm" : "room";
    address.search = new URLSearchParams({ [key]: id, ...(this.api.tenant && { tenant: this.api.tenant }) });
    address.hash = "";
    // An address that named no room, or another one than the page opened, is no place to come back to.
    if (before === id || before !== former?.info.id) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
  }

  async #openById(id) {
    const room = await this.#find(id);
    if (room && this.connection) this.#open(room);
  }

  async #openDm(id) {
    const dm = this.dms.find(id);
    if (dm && this.connection) this.#open(dm);
  }

  async #writeTo(user) {
    const dm = await this.api.openDm(user.id);
    this.dms.add(dm);
    this.#open(dm);
  }

  #onAccepted(room) {
    this.rooms.add(room);
    this.#open(room);
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
    this.elsewhere.remove(id);
  }

  #open(info) {
    this.panels.show(null);
    const former = this.room;
    if (former?.info.id === info.id) return;
    former?.leave();
    this.trouble = "";
    this.#drawBanner();
    const room = new Room({
      info,
      socket: this.connection.socket,
      api: this.api,
      me: this.session.user,
      status: () => this.status.ofGuest,
    });
    this.room = room;
    room.addEventListener("trouble", (event) => {
      this.trouble = event.detail;
      this.#drawBanner();
    });
    room.addEventListener("ended", () => this.#onEnded(room));
    room.addEventListener("messages", ({ detail }) => this.#onMessages(room, detail));
    // The other user of a conversation has come, gone or changed its status.
    if (info.kind === "dm") room.addEventListener("online", () => this.review.dmsSoon());
    if (info.server_id && this.servers.current && info.server_id !== this.servers.current.id) {
      const server = this.servers.find(info.server_id);
      if (server) this.#showServer(server);
    }
    this.rooms.select(info.id);
    this.dms.select(info.id);
    byId("room-title").dataset.kind = info.kind;
    byId("room-name").textContent = info.kind === "dm" ? info.peer.username : info.name;
    byId("room-topic").textContent = info.description ?? "";
    byId("limit").hidden = info.kind === "dm" || !this.servers.owns(info.server_id);
    byId("invite").hidden = !(info.private && info.kind !== "dm" && info.owner_id === this.session.user.id);
    this.#drawTitle();
    this.#setAddress(info, former);
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
      if (!this.session.user.guest && room.info.kind !== "dm") {
        await this.api.joinRoom(room.info.id);
        const { read_seq: read, last_seq: last } = this.rooms.find(room.info.id) ?? {};
        if (read === undefined) this.rooms.note(room.info.id, { read_seq: last ?? 0 });
      }
    } catch (error) {
      room.refuse(error.message);
      if (room !== this.room) return;
      this.trouble = error.message;
      this.#drawBanner();
      return;
    }
    if (room === this.room) room.join();
  }

  #onMessages(room, { how }) {
    if (room !== this.room) return;
    if (how === "changed") this.review.soon();
    if (room.info.kind === "dm" && room.store.newest) this.dms.said(room.info.id, room.store.newest);
    requestAnimationFrame(() => this.#markRead());
  }

  #close() {
    this.review.show(null);
    for (const list of [this.rooms, this.dms, this.invites, this.elsewhere]) list.clear();
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

  #bindDialogs() {
    byId("new-dm").addEventListener("click", () =>
      this.users.ask({ title: "Write to a user", verb: "Write", chosen: (user) => this.#writeTo(user) }),
    );
    byId("invite").addEventListener("click", () => {
      const { id, name } = this.room.info;
      const chosen = (user) => this.api.invite(id, user.id);
      this.users.ask({ title: `Invite to ${name}`, verb: "Invite", chosen });
    });
    byId("roles").addEventListener("click", () => this.roles.open(this.servers.current));
    byId("limit").addEventListener("click", () => this.#limit(this.room.info));
    const dialog = bindDialog("password", ({ old, new: fresh }) => this.#changePassword(old.value, fresh.value));
    byId("change-password").addEventListener("click", () => dialog.open());
  }

  async #limit(info) {
    try {
      await this.limits.open(info);
    } catch (error) {
      this.trouble = error.message;
      this.#drawBanner();
    }
  }

  // Ends all sessions of the user; this one goes on with the new token.
  async #changePassword(old, fresh) {
    const keep = ({ token, user }) => this.session.keep(token, user, { guest: false });
    const change = this.api.changePassword(old, fresh).then(keep);
    this.renewal = change.catch(() => {});
    await change;
  }
}

new App().start();
