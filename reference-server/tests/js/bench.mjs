// One room beside bare servers on `ws` and on Socket.IO, which send each message to all and do nothing else: the memory
// of a connection and the CPU time of a delivery, of the process of each. `make bench-server` runs it.

import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Server as SocketIo } from "socket.io";
import { io } from "socket.io-client";
import WebSocket, { WebSocketServer } from "ws";

import { startServer, until } from "./support/server.mjs";

const CLIENTS = 500;
const RATE = 50;
const SECONDS = 10;
const TICKS_A_SECOND = 100;
const ROOM = "room";
const SECRET = "a secret of the bench, which is long enough";

/** The rivals: each serves and says on which port, and connects a client that calls back for each message. */
const rivals = {
  ws: {
    serve(listens) {
      const server = new WebSocketServer({ port: 0, perMessageDeflate: false });
      server.on("connection", (socket) => {
        socket.on("message", (message) => {
          const text = message.toString();
          for (const client of server.clients) client.send(text);
        });
      });
      server.on("listening", () => listens(server.address().port));
    },
    async connect(port, onMessage) {
      const client = new WebSocket(`ws://127.0.0.1:${port}`);
      client.on("message", onMessage);
      await new Promise((open) => client.once("open", open));
      return { send: (frame) => client.send(JSON.stringify(frame)), end: () => client.terminate() };
    },
  },
  "Socket.IO": {
    serve(listens) {
      const server = new SocketIo({ transports: ["websocket"] });
      server.on("connection", (socket) => {
        socket.join(ROOM);
        socket.on("new_message", (message) => server.to(ROOM).emit("new_message", message));
      });
      server.listen(0);
      listens(server.httpServer.address().port);
    },
    async connect(port, onMessage) {
      const client = io(`http://127.0.0.1:${port}`, { transports: ["websocket"], forceNew: true });
      client.on("new_message", onMessage);
      await new Promise((open) => client.once("connect", open));
      return { send: ([, , , event, message]) => client.emit(event, message), end: () => client.disconnect() };
    },
  },
};

if (process.argv[2] === "serve") rivals[process.argv[3]].serve((port) => process.send(port));
else await main();

async function main() {
  const ours = await measureServer();
  const theirs = {};
  for (const name of Object.keys(rivals)) theirs[name] = await measureRival(name);
  console.log(`one room of ${CLIENTS}, ${RATE} messages a second for ${SECONDS} s, one run each`);
  for (const [what, unit] of [["connection", "KiB"], ["delivery", "us CPU"]]) {
    const beside = Object.entries(theirs).map(([name, their]) => {
      return `${name} ${their[what].toFixed(1)} (${(their[what] / ours[what]).toFixed(2)})`;
    });
    console.log(`${what.padEnd(12)} ${ours[what].toFixed(1)} ${unit}, ${beside.join(", ")}`);
  }
}

async function measureServer() {
  process.env.HEADCOUNT_JWT_SECRET = SECRET;
  const server = await startServer();
  const load = [
    ...["load", "--url", server.url, "--pid", server.pid, "--connections", CLIENTS, "--connect-rate", CLIENTS],
    ...["--rate", RATE, "--duration", SECONDS, "--quiet", "--json"],
  ].map(String);
  const report = JSON.parse(execFileSync(process.env.HEADCOUNT_SERVER, load, { encoding: "utf8" }));
  await server.end();
  expectAll("headcount-server", report.deliveries.received);
  const { resident_bytes_per_connection: bytes, cpu_us_per_delivery: delivery } = report.server;
  return { connection: bytes / 1024, delivery };
}

async function measureRival(name) {
  const stdio = ["ignore", "inherit", "inherit", "ipc"];
  const rival = spawn(process.execPath, [fileURLToPath(import.meta.url), "serve", name], { stdio });
  const port = await new Promise((found) => rival.once("message", found));
  const before = usage(rival.pid);
  let received = 0;
  const clients = [];
  for (let n = 0; n < CLIENTS; n += 1) clients.push(await rivals[name].connect(port, () => (received += 1)));
  await new Promise((settled) => setTimeout(settled, 1_000));
  const joined = usage(rival.pid);
  let sent = 0;
  await new Promise((done) => {
    const timer = setInterval(() => {
      clients[sent % CLIENTS].send(frameOf(sent));
      sent += 1;
      if (sent < RATE * SECONDS) return;
      clearInterval(timer);
      done();
    }, 1_000 / RATE);
  });
  await until("the last delivery", async () => received === sent * CLIENTS);
  const after = usage(rival.pid);
  rival.kill();
  for (const client of clients) client.end();
  expectAll(name, received);
  return {
    connection: (joined.kib - before.kib) / CLIENTS,
    delivery: ((after.seconds - joined.seconds) * 1e6) / received,
  };
}

/** A frame as the chat server sends one. */
function frameOf(n) {
  const id = "0199f3a2-1111-7222-8333-444455556666";
  const user = { id, username: "guest-1234", guest: true };
  const message = { id, seq: n, content: "x".repeat(60), user, created_at: "2026-01-01T00:00:00Z" };
  return [null, null, `room:${id}`, "new_message", message];
}

/** The memory and the CPU time of a process (Linux). */
function usage(pid) {
  const kib = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return { kib, seconds: (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND };
}

function expectAll(name, received) {
  if (received !== CLIENTS * RATE * SECONDS) throw new Error(`${name}: ${received} deliveries`);
}
