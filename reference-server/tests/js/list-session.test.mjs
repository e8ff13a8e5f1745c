// The parts of the npm package that tie a list to its server, without one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { checksum, MalformedBundleError, MemberListClient } from "../../web/headcount/client.mjs";
import { ListSession } from "../../web/headcount/list-session.mjs";
import { isStatus, outward, STATUSES } from "../../web/headcount/status.mjs";
import { VirtualList } from "../../web/headcount/virtual-list.mjs";
import { WindowKeeper } from "../../web/headcount/window-keeper.mjs";

const NAMES = ["Ада", "ada", "ada", "zoë", "a".repeat(300)];

/** Answers requests as a server would that has these names online, and keeps what was asked. */
class Server {
  version = 0;
  asked = [];
  spoil = (bundle) => bundle;

  constructor(names = NAMES) {
    this.names = names;
  }

  request = async (verb, payload) => {
    this.asked.push([verb, payload.window ?? payload.windows]);
    if (verb === "member_list_close") return {};
    return this.spoil(this.bundle(payload.windows ?? [payload.window]));
  };

  bundle(windows) {
    this.version += 1;
    const members = this.names.map((name, id) => ({ id: String(id), revision: 1, body: { name, status: "online" } }));
    const rows = members.length > 0 ? [{ group: "online", count: members.length }, ...members] : [];
    const frames = windows.map((window) => ({
      ...{ window, kind: "sync", base_version: 0, new_version: this.version, base_index: 0 },
      ...{ rows, checksum32: checksum(rows) },
    }));
    const counts = {
      ...{ version: this.version, rows: rows.length, members: members.length },
      groups: [{ group: "online", count: members.length }],
    };
    return { list: "r", epoch: 1, version: this.version, frames, counts, windows };
  }
}

/** Lets the promises that are settled call back. */
const settle = () => new Promise((done) => setImmediate(done));

function open(server) {
  const seen = { changes: 0, errors: [] };
  const list = new VirtualList({ drawNow: () => {} });
  const session = new ListSession({
    request: server.request,
    view: list,
    changed: () => {
      seen.changes += 1;
      list.changed();
    },
    failed: (error) => seen.errors.push(error),
  });
  session.joined();
  return { list, session, seen };
}

const namesOf = (list) => list.read().rows.map(({ row }) => row?.body?.name ?? row?.group ?? null);

test("a session opens the first window and shows its rows", async () => {
  const server = new Server();
  const { list, session } = open(server);
  await settle();
  assert.deepEqual(server.asked, [["member_list_open", "c:0"]]);
  assert.deepEqual(namesOf(list), ["online", ...NAMES]);
  assert.equal(session.counts.members, 5);
  assert.equal(list.activeGroup, "online");
  session.close();
});

test("an empty list has no rows, and is not asked for again", async () => {
  const server = new Server([]);
  const { list, session } = open(server);
  await settle();
  session.push(server.bundle(["c:0"]));
  await settle();
  assert.deepEqual(namesOf(list), []);
  assert.deepEqual(server.asked, [["member_list_open", "c:0"]]);
  assert.equal(list.press("End"), false);
  session.close();
});

test("a malformed bundle is told, rows stay, and windows are asked for again, less and less often", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Server();
  const { list, session, seen } = open(server);
  await settle();
  server.asked.length = 0;
  server.spoil = () => ({ list: "r", epoch: 1 });
  session.push({ ...server.bundle([]), frames: 7 });
  session.push(null);
  assert.deepEqual(seen.errors.map(({ path }) => path), ["frames", "bundle"]);
  assert.ok(seen.errors.every((error) => error instanceof MalformedBundleError));
  assert.deepEqual(namesOf(list), ["online", ...NAMES]);
  assert.deepEqual(server.asked, []);
  t.mock.timers.tick(1000);
  await settle();
  assert.deepEqual(server.asked, [["member_list_resync", ["c:0"]]]);
  assert.equal(seen.errors.length, 3, "the answer is malformed as well");
  for (const pause of [4000, 8000, 16_000, 32_000, 32_000, 32_000]) {
    server.asked.length = 0;
    t.mock.timers.tick(pause - 1);
    await settle();
    assert.deepEqual(server.asked, [], `before ${pause} ms`);
    t.mock.timers.tick(1);
    await settle();
    assert.deepEqual(server.asked, [["member_list_resync", ["c:0"]]], `after ${pause} ms`);
  }
  server.spoil = (bundle) => bundle;
  t.mock.timers.tick(32_000);
  await settle();
  server.asked.length = 0;
  session.push({});
  t.mock.timers.tick(1000);
  await settle();
  assert.deepEqual(server.asked, [["member_list_resync", ["c:0"]]], "a good bundle brings the short pause back");
  session.push({});
  session.close();
  t.mock.timers.tick(60_000);
  await settle();
  assert.equal(server.asked.length, 1, "a closed session asks for nothing");
});

test("a session that leaves closes its windows, also those that have not arrived", async () => {
  const server = new Server();
  const { session, seen } = open(server);
  session.leave();
  await settle();
  assert.deepEqual(server.asked, [["member_list_open", "c:0"], ["member_list_close", "c:0"]]);
  assert.equal(seen.changes, 0);
});

test("a request that waits for its turn is not made after the end", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const asked = [];
  const request = async (verb, { window }) => {
    asked.push(`${verb} ${window}`);
    throw Object.assign(new Error("rate_limited"), { retryAfterMs: 500 });
  };
  const keeper = new WindowKeeper({ client: new MemberListClient(), request, changed: () => {} });
  keeper.want(0, 20);
  await settle();
  keeper.leave();
  t.mock.timers.tick(5000);
  await settle();
  assert.deepEqual(asked, ["member_list_open c:0", "member_list_close c:0"]);
});

test("a list that is joined again keeps its rows; one joined while it is hidden opens no window", async () => {
  const server = new Server();
  const { list, session } = open(server);
  await settle();
  session.joined();
  assert.equal(list.rows, NAMES.length + 1);
  await settle();
  session.pause();
  server.asked.length = 0;
  session.joined();
  await settle();
  assert.deepEqual(server.asked, []);
  session.resume();
  await settle();
  assert.deepEqual(server.asked, [["member_list_open", "c:0"]]);
  session.close();
  list.close();
});

test("statuses", () => {
  assert.deepEqual(STATUSES.map(outward), ["online", "idle", "dnd", "offline", "offline"]);
  for (const word of ["Online", "", null, 3, "away"]) assert.equal(isStatus(word), false);
  assert.ok(STATUSES.every(isStatus));
});
