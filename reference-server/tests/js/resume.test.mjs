// A cut socket: a client of the real Phoenix package comes back to its windows and gets what changed in them.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MemberListClient } from "../../web/headcount/client.mjs";
import { answer, Client, data, enter, guest, register, startServer, until } from "./support/server.mjs";

const MEMBERS = 2500;
const DEMO = ["--demo", String(MEMBERS)];
const AWAY_MS = 1500;

let server;
let city;
const clients = [];

before(async () => {
  server = await startServer({ args: DEMO, graceMs: 5000 });
  const rooms = await data(server, "GET", "/rooms", { token: (await guest(server)).token });
  city = rooms.find(({ name }) => name === "city");
});

after(async () => {
  for (const client of clients) client.close();
  await server.end();
});

/** Makes an account that is a member of the city. */
async function member(username) {
  const user = await register(server, username);
  await enter(server, user, city);
  return user;
}

/** Joins the city with a list client that resumes its windows whenever the channel is joined again. */
async function arrive(user) {
  const params = { member_list: 2, device: "a" };
  const client = new Client(server, user, { params, reconnectAfterMs: () => AWAY_MS, rejoinAfterMs: () => 50 });
  clients.push(client);
  const channel = client.socket.channel(`room:${city.id}`, {});
  const list = new MemberListClient();
  const seen = { resumes: [], resyncs: [] };
  const take = (bundle, request = null) => {
    const asks = list.apply(bundle, request);
    seen.resyncs.push(...asks);
    for (const windows of asks) ask("resync", { windows });
    return bundle;
  };
  const ask = async (verb, payload, request = list.request()) =>
    take(await answer(channel.push(`member_list_${verb}`, payload)), request);
  channel.on("member_list", (bundle) => take(bundle));
  await answer(channel.join());
  channel.joinPush.receive("ok", async () => {
    // At once for the join that has its answer, when no window is held yet.
    if (list.names.length === 0) return;
    const { request, held } = list.reconnect();
    seen.resumes.push({ held, bundle: await ask("resume", { held }, request) });
  });
  const open = (window) => {
    list.open(window);
    return ask("open", { window });
  };
  return { socket: client.socket, channel, list, open, seen };
}

/** Cuts the connection without a close frame, and waits until the client has resumed its windows. */
async function cut({ socket, seen }, meanwhile) {
  const before = seen.resumes.length;
  socket.conn.terminate();
  await meanwhile();
  await until("the windows to be resumed", () => seen.resumes.length > before);
  return seen.resumes.at(-1);
}

/** Waits until two clients hold a window at the same version, and returns its rows at both. */
function alike(one, other, window) {
  return until(`${window} at the same version`, () => {
    const [left, right] = [one.list.window(window), other.list.window(window)];
    const isAlike = left && right && !left.waiting && left.version === right.version;
    return isAlike && [left.rows, right.rows];
  });
}

test("a client that was cut off gets one DELTA for each window, and shows what a fresh viewer shows", async () => {
  const reader = await arrive(await member("reader"));
  for (const window of ["c:0", "c:3"]) await reader.open(window);
  const anchor = reader.list.window("c:3").rows.find(({ id }) => id !== undefined);
  await reader.open(`f:${anchor.id}:60:60`);

  // Of the 2,500 simulated members some come, leave and change their status all the time; these do it for certain.
  const names = ["aaron", "abel"];
  const [idler, leaver] = await Promise.all(names.map((name) => member(name)));
  const joined = await Promise.all([idler, leaver].map((user) => arrive(user)));
  const { held, bundle } = await cut(reader, async () => {
    await answer(joined[0].channel.push("set_status", { status: "idle" }));
    joined[1].socket.disconnect(undefined, 1000);
    await data(server, "DELETE", `/rooms/${city.id}/leave`, { token: leaver.token });
    await member("abigail");
  });

  assert.deepEqual(held.map(({ window }) => window).sort(), ["c:0", "c:3", `f:${anchor.id}:60:60`].sort());
  assert.deepEqual(bundle.frames.map(({ kind }) => kind), ["delta", "delta", "delta"]);
  for (const { window, base_version: from } of bundle.frames) {
    assert.equal(from, held.find((one) => one.window === window).version, window);
  }

  const fresh = await arrive(await guest(server));
  let long = 0;
  for (const { window } of held) long += JSON.stringify((await fresh.open(window)).frames).length;
  const short = JSON.stringify(bundle.frames).length;
  assert.ok(short < long / 2, `${short} bytes of DELTA, ${long} of SYNC`);
  for (const { window } of held) {
    const [resumed, shown] = await alike(reader, fresh, window);
    assert.deepEqual(resumed, shown, window);
  }
  assert.deepEqual(reader.seen.resyncs, [], "nothing was asked for again");
});

test("after a restart of the server the windows come whole, in the epoch of another node", async () => {
  const reader = await arrive(await member("patient"));
  await reader.open("c:0");
  const { port } = new URL(server.url);
  await server.stop("SIGKILL");
  server = await startServer({ args: DEMO, graceMs: 5000, dataDir: server.dataDir, port });
  await until("the windows to be resumed", () => reader.seen.resumes.length > 0);
  const [{ held, bundle }] = reader.seen.resumes;
  assert.deepEqual(bundle.frames.map(({ window, kind }) => [window, kind]), [["c:0", "sync"]]);
  assert.notEqual(bundle.epoch.node, held[0].epoch.node);
  const fresh = await arrive(await guest(server));
  await fresh.open("c:0");
  const [resumed, shown] = await alike(reader, fresh, "c:0");
  assert.deepEqual(resumed, shown);
});
