// Visits shorter than the server's batches, seen by the real Phoenix clients: who is gone leaves nobody's presence.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Presence, Socket } from "phoenix";
import { Presence as OldPresence, Socket as OldSocket } from "phoenix-1.7";
import WebSocket from "ws";
import { answer, data, guest, register, startServer, until } from "./support/server.mjs";

const VISITORS = 12;
const VISITS = 30;
const WATCHERS = 60;

let server;
let room;
const sockets = [];

before(async () => {
  server = await startServer();
  const ada = await register(server, "ada");
  room = await data(server, "POST", "/rooms", { token: ada.token, body: { name: "hall", description: "Come and go" } });
});

after(async () => {
  for (const socket of sockets) socket.disconnect();
  await server.end();
});

function open(Client, token) {
  const endpoint = `${server.url.replace("http", "ws")}/chat/socket`;
  const socket = new Client(endpoint, { transport: WebSocket, params: { token } });
  sockets.push(socket);
  socket.connect();
  return socket;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Joins and leaves; the pauses, of 0 to 36 ms, differ from visit to visit and from visitor to visitor. */
async function visit(socket, number) {
  for (let n = 0; n < VISITS; n += 1) {
    const channel = socket.channel(`room:${room.id}`, {});
    await answer(channel.join());
    await pause((n * 7 + number * 5) % 37);
    await answer(channel.leave());
    await pause((n * 11 + number * 3) % 23);
  }
}

/** Joins, and remembers who was ever seen. */
async function watch(socket, Kind) {
  const channel = socket.channel(`room:${room.id}`, {});
  const presence = new Kind(channel);
  const seen = new Set();
  const here = () => presence.list((id) => id);
  presence.onSync(() => here().forEach((id) => seen.add(id)));
  await answer(channel.join());
  return { here, seen };
}

test("who comes between a join and its leave hears the leave", async () => {
  const guests = await Promise.all(Array.from({ length: VISITORS }, () => guest(server)));
  const visitors = guests.map(({ user }) => user.id);
  const staying = await guest(server);
  const watchers = [];
  const visiting = guests.map(({ token }, number) => visit(open(Socket, token), number));
  let arrives = true;
  const arriving = (async () => {
    // Watchers come as long as somebody visits, so that their presence_state falls between a join and a leave.
    for (let n = 0; n < WATCHERS && arrives; n += 1) {
      const [Client, Kind] = n % 2 ? [Socket, Presence] : [OldSocket, OldPresence];
      watchers.push(await watch(open(Client, staying.token), Kind));
      await pause((n * 13) % 29);
    }
  })();
  await Promise.all(visiting);
  arrives = false;
  await arriving;

  assert.ok(watchers.length > 4, `${watchers.length} watchers came while somebody visited`);
  const saw = watchers.filter(({ seen }) => visitors.some((id) => seen.has(id)));
  assert.ok(saw.length > watchers.length / 2, `${saw.length} of ${watchers.length} saw a visitor`);
  for (const [n, { here }] of watchers.entries())
    await until(`nobody but the watchers at watcher ${n}: ${here()}`, () => String(here()) === staying.user.id);
});
