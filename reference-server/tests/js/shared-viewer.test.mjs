// Lists of one page that share a channel, over the running server: to it they are one viewer.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { ListStore } from "../../web/headcount/list-store.mjs";
import { answer, Client, data, guest, startServer, until } from "./support/server.mjs";

let server;
let rooms;
const cleanups = [];

before(async () => {
  server = await startServer({ args: ["--demo", "3000"] });
  const listed = await data(server, "GET", "/rooms", { token: (await guest(server)).token });
  rooms = Object.fromEntries(listed.map(({ name, id }) => [name, id]));
});

afterEach(() => cleanups.splice(0).forEach((clean) => clean()));

after(() => server.end());

/** Joins a room. `asked` has the requests of its lists, `open()` shows another list of it. */
async function join(room = "city", options = {}) {
  const client = new Client(server, await guest(server), { params: { member_list: 2 }, ...options });
  cleanups.push(() => client.close());
  const channel = client.socket.channel(`room:${rooms[room]}`);
  const asked = [];
  const push = channel.push.bind(channel);
  channel.push = (verb, payload) => {
    asked.push([verb.replace("member_list_", ""), payload.search ?? payload.window ?? payload.windows]);
    return push(verb, payload);
  };
  await answer(channel.join());
  const open = (store = new ListStore()) => {
    const errors = [];
    store.subscribe(() => {
      const { error, found } = store.snapshot();
      errors.push(...[error, found?.error].filter(Boolean));
    });
    return { store, errors, leave: store.connect(channel) };
  };
  return { asked, open, socket: client.socket };
}

/** Waits until a list has shown the changes of some ticks. */
async function lives({ store }) {
  for (let ticks = 0; ticks < 4; ticks += 1) {
    const version = store.snapshot().counts?.version;
    await until("another tick", () => (store.snapshot().counts?.version ?? 0) > (version ?? 0));
  }
}

const windowsOf = (asked, verb) => asked.filter(([other]) => other === verb).map(([, window]) => window);

test("a list that is left and shown again keeps its search, whose window has the same name", async () => {
  const { asked, open } = await join();
  const first = open();
  first.store.snapshot().search({ search: "a" });
  first.leave();
  const second = open(first.store);
  const found = await until("the search", () => second.store.snapshot().found?.rows.length > 0);
  assert.ok(found);
  await lives(second);
  assert.ok(second.store.snapshot().found.rows.length > 0);
  assert.deepEqual([...first.errors, ...second.errors], []);
  assert.deepEqual(windowsOf(asked, "search"), ["a", "a"]);
  assert.ok(windowsOf(asked, "close").every((window) => window === "c:0"));
});

test("a search that was left for another one closes", async () => {
  const { asked, open } = await join();
  const first = open();
  first.store.snapshot().search({ search: "a" });
  first.leave();
  const second = open();
  second.store.snapshot().search({ search: "b" });
  await until("the search", () => second.store.snapshot().found?.rows.length > 0);
  await until("the other closed", () => windowsOf(asked, "close").includes("q:61:0"));
  await lives(second);
  assert.deepEqual(second.errors, []);
  assert.equal(second.store.snapshot().found.search, "b");
});

test("two lists of one channel go on while both change, and one when the other is left", async () => {
  const { asked, open } = await join();
  const [one, two] = [open(), open()];
  two.store.snapshot().search({ search: "a" });
  await until("the search", () => two.store.snapshot().found?.rows.length > 0);
  one.store.snapshot().search({ search: "b" });
  await until("the other search", () => one.store.snapshot().found?.rows.length > 0);
  await lives(one);
  await lives(two);
  assert.deepEqual(windowsOf(asked, "resync"), []);
  one.leave();
  assert.deepEqual(windowsOf(asked, "close"), ["q:62:0"]);
  await lives(two);
  const { rows, found } = two.store.snapshot();
  assert.ok(rows.length > 0 && rows.every(({ row }) => row !== null));
  assert.ok(found.rows.length > 0);
  assert.deepEqual([...one.errors, ...two.errors], []);
  assert.deepEqual([windowsOf(asked, "resync"), windowsOf(asked, "search")], [[], ["a", "b"]]);
  two.leave();
  assert.deepEqual(windowsOf(asked, "close").sort(), ["c:0", "q:61:0", "q:62:0"]);
});

test("two lists of one channel come back over the next connection", async () => {
  const { open, socket } = await join("city", { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 });
  const [one, two] = [open(), open()];
  await until("rows", () => [one, two].every(({ store }) => store.snapshot().rows.some(({ row }) => row?.id)));
  socket.conn.terminate();
  await until("the end", () => one.store.snapshot().status === "reconnecting");
  await until("both lists", () => [one, two].every(({ store }) => store.snapshot().status === "open"));
  await lives(one);
  await lives(two);
  assert.deepEqual([...one.errors, ...two.errors], []);
});

test("a search that is made before there is a list waits for it, and goes on in the next one", async () => {
  const client = new Client(server, await guest(server));
  cleanups.push(() => client.close());
  const store = new ListStore();
  store.connect(null, null);
  store.snapshot().search({ search: "a" });
  const leave = store.connect(client.socket, `room:${rooms.city}`);
  await until("the search", () => store.snapshot().found?.rows.length > 0);
  leave();
  assert.equal(store.snapshot().found, null);
  store.connect(client.socket, `room:${rooms.lobby}`);
  await until("the search there", () => store.snapshot().found?.matches === 0);
  store.snapshot().search(null);
  assert.equal(store.snapshot().found, null);
});
