// The parts of the npm package that tie a list to its server, without one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { watchChannel } from "../../web/headcount/channel.mjs";
import { checksum, MalformedBundleError, MemberListClient } from "../../web/headcount/client.mjs";
import { isStatus, outward, STATUSES } from "../../web/headcount/status.mjs";
import { WindowKeeper } from "../../web/headcount/window-keeper.mjs";
import { open, settle } from "./support/list.mjs";

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

/** A server that speaks frame format 2, of one node. */
class ResumableServer extends Server {
  bundle(windows) {
    const bundle = super.bundle(windows);
    const held = windows.map((window) => ({ window, version: this.version }));
    return { ...bundle, format: 2, epoch: { node: "n", number: 1 }, windows: held };
  }

  /** Answers that the second member has another name since. */
  request = async (verb, payload) => {
    this.asked.push([verb, payload.window ?? payload.windows ?? payload.held]);
    if (verb !== "member_list_resume") return this.bundle(payload.windows ?? [payload.window]);
    if (this.refusal) throw this.refusal;
    const bundle = this.bundle(payload.held.map(({ window }) => window));
    for (const [at, frame] of bundle.frames.entries()) {
      frame.rows[2] = { ...frame.rows[2], revision: 2, body: { name: "eve" } };
      const updates = [{ index: 2, revision: 2, body: { name: "eve" } }];
      const delta = { kind: "delta", base_version: payload.held[at].version, deletes: [], inserts: [], updates };
      Object.assign(frame, delta, { checksum32: checksum(frame.rows) });
      delete frame.rows;
    }
    return bundle;
  };
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

test("a list of format 2 that is joined again resumes its windows, and shows what changed", async () => {
  const server = new ResumableServer();
  const { list, session, seen } = open(server);
  await settle();
  server.asked.length = 0;
  const before = seen.changes;
  session.joined();
  assert.deepEqual(namesOf(list), ["online", ...NAMES], "the rows stay");
  session.push(server.bundle([]));
  await settle();
  const held = [{ window: "c:0", epoch: { node: "n", number: 1 }, version: 1 }];
  assert.deepEqual(server.asked, [["member_list_resume", held]]);
  assert.deepEqual(namesOf(list), ["online", NAMES[0], "eve", ...NAMES.slice(2)]);
  assert.ok(seen.changes > before);
  assert.deepEqual(seen.errors, []);
  const said = (version) => session.push({ ...server.bundle([]), windows: [{ window: "c:0", version }] });
  said(2);
  await settle();
  assert.equal(server.asked.length, 1, "nothing is missing");
  said(3);
  await settle();
  assert.deepEqual(server.asked[1], ["member_list_resync", ["c:0"]], "a frame was lost");
  session.close();
  list.close();
});

test("a server that cannot resume is asked for the windows anew", async () => {
  const server = new ResumableServer();
  const { list, session, seen } = open(server);
  await settle();
  server.refusal = new Error("unknown event");
  server.asked.length = 0;
  session.joined();
  await settle();
  assert.deepEqual(server.asked.map(([verb]) => verb), ["member_list_resume", "member_list_open"]);
  assert.deepEqual(namesOf(list), ["online", ...NAMES]);
  assert.deepEqual(seen.errors, []);
  session.close();
  list.close();
});

test("a list that is joined again twice resumes by the last connection", async () => {
  const server = new ResumableServer();
  const { list, session } = open(server);
  await settle();
  server.asked.length = 0;
  session.joined();
  session.joined();
  await settle();
  assert.deepEqual(server.asked.map(([verb]) => verb), ["member_list_resume", "member_list_resume"]);
  assert.deepEqual(namesOf(list), ["online", NAMES[0], "eve", ...NAMES.slice(2)]);
  session.close();
  list.close();
});

test("a window that replaces another is resumed in its place", () => {
  const server = new ResumableServer();
  const client = new MemberListClient();
  client.open("c:0");
  client.apply(server.bundle(["c:0"]));
  client.move("c:0", "c:1");
  const { request, held } = client.reconnect();
  assert.deepEqual(held.map(({ window, version }) => [window, version]), [["c:1", 0]]);
  assert.equal(client.window("c:0").rows.length, NAMES.length + 1, "the old rows stay");
  assert.deepEqual(client.apply(server.bundle(["c:1"]), request), []);
  assert.deepEqual(client.names, ["c:1"]);
});

/** A channel with no more than its type says. */
class Wire {
  state = "joining";
  bound = [];
  refs = 0;

  on(event, callback) {
    this.refs += 1;
    this.bound.push({ event, callback, ref: this.refs });
    return this.refs;
  }

  off(event, ref) {
    this.bound = this.bound.filter((entry) => entry.event !== event || entry.ref !== ref);
  }

  receive(event, payload, ref, joinRef) {
    for (const { event: other, callback } of this.bound) if (other === event) callback(payload, ref, joinRef);
  }
}

test("every watcher of a channel hears its joins, and no other answer", () => {
  const wire = new Wire();
  const heard = [];
  const watch = (name) =>
    watchChannel(wire, {
      joined: () => heard.push(`${name} joined`),
      refused: ({ message }) => heard.push(`${name} ${message}`),
      bundle: () => heard.push(`${name} bundle`),
      lost: () => heard.push(`${name} lost`),
    });
  const stops = [watch("one"), watch("two")];
  wire.receive("phx_reply", { status: "error", response: { reason: "full" } }, "1", "1");
  wire.receive("phx_reply", { status: "ok", response: {} }, "2", "2");
  wire.receive("phx_reply", { status: "ok", response: {} }, "3", "2");
  assert.deepEqual(heard.splice(0), ["one full", "two full", "one joined", "two joined"]);
  wire.state = "joined";
  stops.push(watch("three"));
  assert.deepEqual(heard.splice(0), ["three joined"]);
  for (const stop of stops) stop();
  assert.deepEqual(wire.bound, []);
});

test("statuses", () => {
  assert.deepEqual(STATUSES.map(outward), ["online", "idle", "dnd", "offline", "offline"]);
  for (const word of ["Online", "", null, 3, "away"]) assert.equal(isStatus(word), false);
  assert.ok(STATUSES.every(isStatus));
});
