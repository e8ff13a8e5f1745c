// The member list over the real Phoenix client: windows opened, moved and followed with the page's own list client.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemberListClient } from "../../web/headcount/client.mjs";
import { WindowKeeper } from "../../web/headcount/window-keeper.mjs";
import { Client, data, guest, startServer, until } from "./support/server.mjs";

const MEMBERS = 3000;

let server;
let rooms;
const clients = [];

before(async () => {
  server = await startServer({ args: ["--demo", String(MEMBERS)] });
  rooms = await data(server, "GET", "/rooms", { token: (await guest(server)).token });
});

after(async () => {
  for (const client of clients) client.close();
  await server.end();
});

/** Joins a room; `list` is the client of its member list, `resyncs` the requests that the client had to repeat. */
async function arrive(name) {
  const client = new Client(server, await guest(server));
  clients.push(client);
  const channel = client.socket.channel(`room:${rooms.find((room) => room.name === name).id}`, {});
  const list = new MemberListClient();
  const seen = { list, resyncs: [], bundles: 0, frames: 0 };
  const take = (bundle) => {
    seen.bundles += 1;
    seen.frames += bundle.frames.length;
    seen.resyncs.push(...list.apply(bundle));
    return bundle;
  };
  channel.on("member_list", take);
  const send = (event, payload) =>
    new Promise((done, failed) => {
      channel
        .push(event, payload)
        .receive("ok", done)
        .receive("error", (reply) => failed({ ...reply, retryAfterMs: reply.retry_after_ms }))
        .receive("timeout", () => failed(new Error("no answer")));
    });
  const ask = (verb, payload) => {
    list.expect(`member_list_${verb}`, payload);
    return send(`member_list_${verb}`, payload).then(take);
  };
  await new Promise((done, failed) => channel.join().receive("ok", done).receive("error", failed));
  return { user: client.user, channel, ask, send, ...seen, seen };
}

const names = (list, window) =>
  list
    .window(window)
    .rows.filter(({ id }) => id)
    .map(({ body }) => body.username);

test("the first chunk: a SYNC with headers, bodies and counts", async () => {
  const { ask, list } = await arrive("city");
  const bundle = await ask("open", { window: "c:0" });
  assert.deepEqual(
    bundle.frames.map(({ kind, window }) => [kind, window]),
    [["sync", "c:0"]],
  );
  const { rows } = list.window("c:0");
  assert.equal(rows.length, 100);
  assert.equal(typeof rows[0].group, "string");
  assert.equal(rows[0].count, list.counts.groups.find(({ group }) => group === rows[0].group).count);
  assert.ok(rows.filter(({ body }) => body?.simulated).length > 90);
  assert.ok(list.counts.members >= MEMBERS);
  assert.equal(
    list.counts.rows,
    list.counts.groups.reduce((sum, { count, hidden }) => sum + (hidden || count === 0 ? 0 : count + 1), 0),
  );
});

test("members that join, change and leave are seen in the list of a small room", async () => {
  const here = await arrive("lobby");
  await here.ask("open", { window: "c:0" });
  const visitor = await arrive("lobby");
  await until("the visitor in the list", () => names(here.list, "c:0").includes(visitor.user.username));
  await visitor.send("set_status", { status: "idle" });
  await until("the visitor among the idle", () => {
    const { rows } = here.list.window("c:0");
    const header = rows.findIndex(({ group }) => group === "idle");
    return header >= 0 && rows.findIndex(({ body }) => body?.username === visitor.user.username) > header;
  });
  await visitor.send("set_status", { status: "invisible" });
  await until("the visitor hidden", () => !names(here.list, "c:0").includes(visitor.user.username));
  await visitor.send("set_status", { status: "online" });
  await until("the visitor back", () => names(here.list, "c:0").includes(visitor.user.username));
  visitor.channel.leave();
  await until("the visitor gone", () => !names(here.list, "c:0").includes(visitor.user.username));
  assert.deepEqual(here.resyncs, []);
});

test("chunks and an anchored window stay right through a few seconds of changes", async () => {
  const { ask, list, resyncs, seen } = await arrive("city");
  for (const window of ["c:0", "c:7", "c:12"]) await ask("open", { window });
  const anchor = list.window("c:12").rows.find(({ id }) => id);
  await ask("open", { window: `a:${anchor.id}:60:60` });
  const { frames } = seen;
  await new Promise((wake) => setTimeout(wake, 4000));
  assert.ok(seen.frames > frames + 5, `only ${seen.frames - frames} frames in four seconds`);
  // Every frame was checked against the server's checksum; a mismatch or a gap would have caused a resync.
  assert.deepEqual(resyncs, []);
  assert.deepEqual(list.names.filter((name) => name.startsWith("c:")).sort(), ["c:0", "c:12", "c:7"]);
  const moved = list.names.find((name) => !name.startsWith("c:"));
  const to = list.window("c:0").rows.find(({ id }) => id);
  await ask("move", { from: moved, window: `a:${to.id}:10:10` });
  const [view] = list.views().filter(({ name }) => !name.startsWith("c:"));
  assert.ok(view.end - view.start <= 21);
  await ask("resync", { windows: ["c:0"] });
  assert.deepEqual(resyncs, []);
});

test("the keeper of the page follows a reader down the list and back", async () => {
  const { channel, list, send } = await arrive("city");
  channel.off("member_list");
  let troubles = 0;
  const keeper = new WindowKeeper({ client: list, request: send, changed: () => {}, failed: () => (troubles += 1) });
  channel.on("member_list", (bundle) => keeper.push(bundle));
  const read = (first) =>
    until(`rows from ${first}`, () => {
      keeper.want(first, first + 20);
      return keeper.holds(first, first + 20);
    });
  await read(0);
  for (const first of [40, 150, 280, 330, 420, 500, 610, 1500, 2800, 2790, 2000, 1990, 290, 100, 0]) await read(first);
  const { rows: total } = keeper.counts;
  await read(total - 20);
  await until("one anchored window is left", () => {
    keeper.want(total - 20, total);
    return list.names.length === 1 && list.names[0].startsWith("a:");
  });
  assert.equal(troubles, 0);
});

test("a name is found in every group that contains it", async () => {
  const { ask, send, list } = await arrive("city");
  await ask("open", { window: "c:0" });
  const { body } = list.window("c:0").rows.find(({ id }) => id);
  const prefix = body.username.slice(0, 3).toUpperCase();
  const { matches } = await send("member_list_find", { prefix });
  assert.ok(matches.length > 0);
  for (const { group, index, id } of matches) {
    const window = `c:${Math.floor(index / 100)}`;
    if (!list.window(window)) await ask("open", { window });
    const { rows, baseIndex } = list.window(window);
    // The room changes meanwhile; the row is at the index, or next to it.
    const near = rows.slice(Math.max(0, index - baseIndex - 10), index - baseIndex + 10);
    const found = near.find((row) => row.id === id);
    assert.ok(found?.body.username.toUpperCase().startsWith(prefix), `${group} ${index}`);
  }
  assert.deepEqual(await send("member_list_find", { prefix: "\u{10ffff}" }), { matches: [] });
  const refusal = await send("member_list_find", { prefix: 7 }).then(
    () => null,
    (reply) => reply,
  );
  assert.equal(refusal.reason, "invalid payload");
});

test("invalid windows, and too many of them, are refused; the others work on", async () => {
  const { send, ask, list } = await arrive("city");
  for (const window of [
    "c:x",
    "c:-1",
    "c:99999999999",
    "a:1:400:400",
    "q:1",
    "",
    "a:'; drop table users:1:1",
    null,
    7,
    {},
  ]) {
    const refusal = await send("member_list_open", { window }).then(
      () => null,
      (reply) => reply,
    );
    assert.equal(typeof refusal?.reason, "string", `accepted ${JSON.stringify(window)}`);
  }
  for (let k = 0; k < 8; k += 1) await ask("open", { window: `c:${k}` });
  const ninth = await send("member_list_open", { window: "c:8" }).then(
    () => null,
    (reply) => reply,
  );
  assert.equal(typeof ninth?.reason, "string", "a ninth window was opened");
  const beyond = list.counts.rows + 1000;
  list.expect("member_list_close", { window: "c:7" });
  send("member_list_close", { window: "c:7" }).catch(() => {});
  const empty = await ask("open", { window: `c:${Math.ceil(beyond / 100)}` });
  assert.deepEqual(empty.frames[0].rows, []);
  assert.ok(server.isRunning());
});
