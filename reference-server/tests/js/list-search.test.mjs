// Searches of a list: the parts of the npm package without a server, then over one.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { LongPoll } from "phoenix";

import { checksum, isSearch, MemberListClient } from "../../web/headcount/client.mjs";
import { SEARCH_ROWS } from "../../web/headcount/list-search.mjs";
import { ListSession } from "../../web/headcount/list-session.mjs";
import { ListStore } from "../../web/headcount/list-store.mjs";
import { VirtualList } from "../../web/headcount/virtual-list.mjs";
import { WindowKeeper } from "../../web/headcount/window-keeper.mjs";
import { foundText, hasNextPage } from "../../web/members/found-list.mjs";
import { open, settle } from "./support/list.mjs";
import { Client, data, enter, guest, register, startServer, until } from "./support/server.mjs";

const NAMES = ["ada", "ada", "Ада", "zoë", "zoë", "界".repeat(32)];

const hex = (text) => Buffer.from(text.toLowerCase()).toString("hex");

/** Answers requests as a server would that has these names online. `format` is that of its bundles. */
class Server {
  version = 0;
  asked = [];
  /** The version of the last rows of each window. */
  windows = new Map();
  names = [...NAMES];
  group = "online";

  constructor(format = 1) {
    this.format = format;
  }

  request = async (verb, payload) => {
    this.asked.push([verb.replace("member_list_", ""), payload.search ?? payload.window ?? payload.windows]);
    if (this.gate) await this.gate;
    if (this.refusal) throw this.refusal;
    const { window, windows, search, page = 0, group, held } = payload;
    if (verb === "member_list_close") {
      this.windows.delete(window);
      return {};
    }
    const prefix = `${hex(search ?? "")}:${page}`;
    const name = search === undefined ? window : group === undefined ? `q:${prefix}` : `r:${prefix}:${group}`;
    return this.bundle(windows ?? held?.map((one) => one.window) ?? [name]);
  };

  /** Makes a bundle with a SYNC of each of these windows. */
  bundle(names) {
    this.version += 1;
    for (const name of names) this.windows.set(name, this.version);
    const groups = [{ group: this.group, count: this.names.length }];
    const counts = { version: this.version, rows: this.names.length + 1, members: this.names.length, groups };
    const windows = [...this.windows].map(([window, version]) => (this.format === 2 ? { window, version } : window));
    const frames = names.map((name) => this.frame(name));
    const two = this.format === 2 ? { format: 2, epoch: { node: "n", number: 1 } } : { epoch: 1 };
    return { list: "r", ...two, version: this.version, frames, counts, windows };
  }

  frame(window) {
    const prefix = Buffer.from(window.startsWith("c:") ? "" : window.split(":")[1], "hex").toString();
    const members = this.names.map((name, id) => ({ id: String(id), revision: 1, body: { name } }));
    const found = members.filter(({ body }) => body.name.toLowerCase().startsWith(prefix));
    const header = { group: this.group, count: found.length };
    const rows = window.startsWith("r:") || found.length === 0 ? found : [header, ...found];
    const matches = window.startsWith("c:") ? {} : { matches: found.length };
    const versions = { base_version: 0, new_version: this.version };
    return { window, kind: "sync", ...versions, base_index: 0, rows, checksum32: checksum(rows), ...matches };
  }
}

const namesOf = ({ rows }) => rows.map(({ body, group }) => body?.name ?? group);
const searches = (server) => server.asked.filter(([verb]) => verb === "search").map(([, text]) => text);

test("a search finds rows, follows them live, and leaves the rows of the list alone", async () => {
  const server = new Server();
  const { list, session, seen } = open(server);
  await settle();
  assert.equal(session.found, null);
  session.search({ search: "AD" });
  assert.equal(session.found, null, "not yet");
  await settle();
  assert.deepEqual(namesOf(session.found), ["online", "ada", "ada"]);
  const { search, matches, first, error } = session.found;
  assert.deepEqual([search, matches, first, error], ["AD", 2, 0, null]);
  assert.equal(list.rows, NAMES.length + 1);
  assert.equal(list.read().rows[3].row.body.name, "Ада");
  server.names.push("adam");
  const before = seen.changes;
  session.push(server.bundle(["c:0", "q:6164:0"]));
  assert.deepEqual(namesOf(session.found), ["online", "ada", "ada", "adam"]);
  assert.ok(seen.changes > before);
  session.search(null);
  await settle();
  assert.equal(session.found, null);
  assert.deepEqual([...server.windows.keys()], ["c:0"]);
  assert.deepEqual(seen.errors, []);
  session.close();
});

test("nobody is found: no rows, and no error", async () => {
  const server = new Server();
  const { session } = open(server);
  session.search({ search: "\u{10ffff}" });
  await settle();
  assert.deepEqual([session.found.rows, session.found.matches, session.found.error], [[], 0, null]);
  session.close();
});

test("another text takes the place of the former one, whose rows stay until then; the last one is asked", async () => {
  const server = new Server();
  const { session } = open(server);
  session.search({ search: "ada" });
  await settle();
  let release;
  server.gate = new Promise((done) => (release = done));
  for (const search of ["z", "zo", "zoë", "界".repeat(32)]) session.search({ search });
  assert.deepEqual(namesOf(session.found), ["online", "ada", "ada"]);
  server.gate = null;
  release();
  await settle();
  assert.deepEqual(searches(server), ["ada", "z", "界".repeat(32)]);
  assert.deepEqual(namesOf(session.found), ["online", NAMES[5]]);
  const left = [...server.windows.keys()].filter(isSearch);
  assert.deepEqual(left, [`q:${hex(NAMES[5])}:0`]);
  session.close();
});

test("a text of the same window keeps it; another page or group has a window of its own", async () => {
  const server = new Server();
  const { session } = open(server);
  for (const [wanted, window] of [
    [{ search: "ada" }, "q:616461:0"],
    [{ search: "ADA" }, "q:616461:0"],
    [{ search: "ADA", page: 1 }, "q:616461:1"],
    [{ search: "ada", group: "on:line" }, "r:616461:0:on:line"],
    [{ search: "ada", group: "idle" }, "r:616461:0:idle"],
  ]) {
    session.search(wanted);
    await settle();
    assert.deepEqual([...server.windows.keys()].filter(isSearch), [window]);
    assert.equal(session.found.group, wanted.group);
    assert.equal(session.found.matches, 2);
  }
  session.close();
});

test("a window whose group is renamed is kept under its new name", async () => {
  const server = new Server();
  const { session } = open(server);
  session.search({ search: "ada", group: "online" });
  await settle();
  server.asked.length = 0;
  server.windows = new Map([["c:0", 1], ["r:616461:0:here", 2]]);
  const bundle = server.bundle([]);
  const renamed = { ...server.frame("r:616461:0:online"), renamed: "r:616461:0:here" };
  session.push({ ...bundle, frames: [renamed] });
  await settle();
  assert.deepEqual([session.found.group, namesOf(session.found)], ["here", ["ada", "ada"]]);
  session.search(null);
  await settle();
  assert.deepEqual(server.asked, [["close", "r:616461:0:here"]]);
  session.close();
});

test("a refusal is told with what was searched; the former window is closed", async () => {
  const server = new Server();
  const { session, seen } = open(server);
  session.search({ search: "ada" });
  await settle();
  server.refusal = new Error("nothing to search for");
  session.search({ search: "\u{200d}" });
  await settle();
  const { search, rows, matches, error } = session.found;
  assert.deepEqual([search, rows, matches, error.message], ["\u{200d}", [], null, "nothing to search for"]);
  assert.deepEqual(server.asked.at(-1), ["close", "q:616461:0"]);
  server.refusal = null;
  session.search({ search: "zoë" });
  await settle();
  assert.equal(session.found.matches, 2);
  assert.deepEqual(seen.errors, []);
  session.close();
});

test("a search that was not answered is made again over the next connection", async () => {
  const server = new Server(2);
  const { session } = open(server);
  await settle();
  server.refusal = new Error("the server did not answer");
  session.search({ search: "ada" });
  await settle();
  assert.equal(session.found.error.message, "the server did not answer");
  server.refusal = null;
  session.joined();
  await settle();
  assert.deepEqual([session.found.matches, session.found.error], [2, null]);
  session.close();
});

test("an answer that is no search, or malformed, harms nothing", async () => {
  const server = new Server();
  const { session, seen } = open(server);
  await settle();
  const unnamed = (bundle) => ({ ...bundle, frames: [{ ...bundle.frames[0], window: 7 }] });
  for (const spoil of [() => null, () => ({}), unnamed]) {
    server.bundle = (names) => spoil(Server.prototype.bundle.call(server, names));
    session.search({ search: "ada" });
    await settle();
    assert.equal(session.found.error.name, "MalformedBundleError");
    assert.deepEqual(session.found.rows, []);
  }
  delete server.bundle;
  session.search({ search: "ada" });
  await settle();
  assert.equal(session.found.matches, 2);
  assert.deepEqual(seen.errors, []);
  session.close();
});

test("a hidden list closes the window, and searches again when it is shown", async () => {
  const server = new Server();
  const { session } = open(server);
  session.search({ search: "ada" });
  await settle();
  session.pause();
  await settle();
  assert.deepEqual([...server.windows.keys()], []);
  session.search({ search: "zoë" });
  await settle();
  assert.deepEqual([...server.windows.keys()], []);
  session.resume();
  await settle();
  assert.deepEqual([session.found.search, session.found.matches], ["zoë", 2]);
  session.close();
});

test("a list that is joined again resumes its search in format 2, and searches again in format 1", async () => {
  for (const format of [1, 2]) {
    const server = new Server(format);
    const { session, seen } = open(server);
    session.search({ search: "ada" });
    await settle();
    server.asked.length = 0;
    server.windows.clear();
    server.names.push("adam");
    session.joined();
    if (format === 2) assert.deepEqual(namesOf(session.found), ["online", "ada", "ada"], "the rows stay");
    await settle();
    assert.deepEqual(namesOf(session.found), ["online", "ada", "ada", "adam"]);
    assert.deepEqual(searches(server), format === 2 ? [] : ["ada"]);
    session.search({ search: "zoë" });
    await settle();
    assert.deepEqual([...server.windows.keys()].filter(isSearch), [`q:${hex("zoë")}:0`]);
    assert.deepEqual(seen.errors, []);
    session.close();
  }
});

test("a search made before the join waits for it; one under way is made again over the next connection", async () => {
  const server = new Server(2);
  const list = new VirtualList({ drawNow: () => {} });
  const session = new ListSession({ request: server.request, view: list, changed: () => list.changed() });
  session.search({ search: "ada" });
  await settle();
  assert.deepEqual(server.asked, []);
  session.joined();
  await settle();
  assert.equal(session.found.matches, 2);
  const lost = new Promise(() => {});
  server.gate = lost;
  session.search({ search: "zoë" });
  await settle();
  server.gate = null;
  server.asked.length = 0;
  session.joined();
  await settle();
  assert.deepEqual(server.asked.map(([verb]) => verb), ["resume", "search", "close"]);
  assert.deepEqual([session.found.search, session.found.matches], ["zoë", 2]);
  session.close();
});

test("a window that the server has lost is opened again, and one that nobody wants is closed", async () => {
  const server = new Server();
  const client = new MemberListClient();
  const keeper = new WindowKeeper({ client, request: server.request, changed: () => {} });
  keeper.search({ search: "ada" });
  await settle();
  client.close("q:616461:0");
  server.windows.clear();
  keeper.push(server.bundle([]));
  await settle();
  assert.deepEqual(searches(server), ["ada", "ada"]);
  assert.equal(keeper.found.matches, 2);
  server.asked.length = 0;
  keeper.push(server.bundle(["q:7a:0"]));
  await settle();
  keeper.push(server.bundle([]));
  await settle();
  assert.deepEqual(server.asked.at(-1), ["close", "q:7a:0"]);
  assert.equal(keeper.found.matches, 2);
  keeper.close();
});

test("a session that leaves closes the search, also one that has not arrived", async () => {
  const server = new Server();
  const { session } = open(server);
  session.search({ search: "ada" });
  session.leave();
  await settle();
  assert.deepEqual([...server.windows.keys()].filter(isSearch), []);
});

test("what is found is put in words, and has a next page only if it may", () => {
  const rows = (count) => Array.from({ length: count }, (_, id) => ({ id: String(id), revision: 1 }));
  const found = (count, matches, more = {}) => ({ search: "a", rows: rows(count), matches, error: null, ...more });
  assert.equal(hasNextPage(found(SEARCH_ROWS, SEARCH_ROWS)), false);
  assert.equal(hasNextPage(found(SEARCH_ROWS, SEARCH_ROWS + 1)), true);
  assert.equal(hasNextPage(found(SEARCH_ROWS - 1, 99, { page: 1 })), false);
  assert.equal(hasNextPage(found(0, null)), false);
  assert.equal(foundText(found(0, 0), false), "Nobody's name begins with “a”.");
  assert.equal(foundText(found(1, 1), false), "1 member found");
  assert.equal(foundText(found(50, 1234), true), `${(1234).toLocaleString()} members found, page 1`);
  assert.equal(foundText(found(9, 59, { page: 1 }), false), "59 members found, page 2");
  assert.equal(foundText(found(0, null, { error: new Error("Too long.") }), false), "Too long.");
});

let server;
let city;
const clients = [];

before(async () => {
  server = await startServer({ args: ["--demo", "3000"] });
  const rooms = await data(server, "GET", "/rooms", { token: (await guest(server)).token });
  city = rooms.find(({ name }) => name === "city");
});

after(async () => {
  for (const client of clients) client.close();
  await server.end();
});

/** Shows the city by a store, over this transport. */
async function arrive(options) {
  const client = new Client(server, await guest(server), { params: { member_list: 2 }, ...options });
  clients.push(client);
  const store = new ListStore();
  store.connect(client.socket, `room:${city.id}`);
  await until("the list", () => store.snapshot().counts);
  return { store, client };
}

for (const [kind, options] of [["a WebSocket", {}], ["long polls", { transport: LongPoll }]]) {
  test(`a search over ${kind} follows who comes, and is resumed`, async () => {
    const { store, client } = await arrive({ ...options, reconnectAfterMs: () => 100, rejoinAfterMs: () => 50 });
    const text = kind === "a WebSocket" ? "quetzal" : "quokka";
    store.snapshot().search({ search: text.toUpperCase() });
    const found = await until("an answer", () => store.snapshot().found);
    assert.deepEqual([found.rows, found.matches, found.error], [[], 0, null]);
    const user = await register(server, text);
    await enter(server, user, city);
    await until("the member", () => store.snapshot().found.matches === 1);
    const [header, row] = store.snapshot().found.rows;
    assert.deepEqual([header, row.body], [{ group: "offline", count: 1 }, { username: text, status: "offline" }]);
    if (kind === "a WebSocket") client.socket.conn.terminate();
    const other = new Client(server, user);
    clients.push(other);
    const { push } = await other.join(`room:${city.id}`);
    await push("set_status", { status: "idle" });
    await until("its status", () => store.snapshot().found?.rows[1]?.body.status === "idle");
    await store.snapshot().seek(`m:${row.id}`);
    await until("its row", () => store.snapshot().rows.some((shown) => shown.row?.id === row.id));
    store.snapshot().search({ search: text, page: 90_000_000 });
    await until("a refusal", () => /page 90000000, at most/.test(store.snapshot().found?.error?.message));
    store.snapshot().search(null);
    assert.equal(store.snapshot().found, null);
  });
}

test("pages of a search over a demo of 3,000 hold what they say", async () => {
  const { store } = await arrive({});
  const members = [];
  let matches = null;
  for (let page = 0; ; page += 1) {
    store.snapshot().search({ search: "s", group: "offline", page });
    const found = await until(`page ${page}`, () => store.snapshot().found?.page === page && store.snapshot().found);
    assert.equal(found.first, page * SEARCH_ROWS);
    matches = found.matches;
    members.push(...found.rows.map(({ body }) => body.username));
    if (!hasNextPage(found)) break;
  }
  assert.ok(members.length > 2 * SEARCH_ROWS, `${members.length} members`);
  assert.ok(members.every((name) => /^s/i.test(name)));
  // Some come and go meanwhile.
  assert.ok(Math.abs(members.length - matches) < 20, `${members.length} of ${matches}`);
});
