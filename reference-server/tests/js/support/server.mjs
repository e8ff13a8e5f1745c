// Starts the server binary and talks to it as its clients do.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Presence, Socket } from "phoenix";
import WebSocket from "ws";

const HERE = fileURLToPath(new URL(".", import.meta.url));

/** The repository's root. */
export const ROOT = resolve(HERE, "../../../..");

/** The server program. */
export const BINARY = process.env.HEADCOUNT_SERVER ?? join(ROOT, "target/debug/headcount-server");
/** The time that a start may take on a busy machine. */
export const START_MS = 180_000;
const PATIENCE_MS = 30_000;

/** Starts a server on a free port with a data directory of its own. */
export async function startServer({
  args = [],
  graceMs = 0,
  port = 0,
  dataDir = mkdtempSync(join(tmpdir(), "headcount-")),
} = {}) {
  if (!existsSync(BINARY))
    throw new Error(`${BINARY} is missing: run \`make test-web\`, or set HEADCOUNT_SERVER`);
  const child = spawn(BINARY, [
    ...["--port", String(port), "--admin-addr", "127.0.0.1:0"],
    ...["--data-dir", dataDir, "--grace-ms", String(graceMs), ...args],
  ], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = new Promise((done) => child.once("exit", done));
  let output = "";
  const url = await new Promise((found, failed) => {
    const timer = setTimeout(() => failed(new Error(`no address after ${START_MS} ms:\n${output}`)), START_MS);
    const read = (chunk) => {
      output += chunk;
      const match = output.match(/https?:\/\/[^\s/]+:\d+/);
      if (!match) return;
      clearTimeout(timer);
      found(match[0]);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", failed);
    exited.then((code) => failed(new Error(`the server ended with ${code}:\n${output}`)));
  });
  await until("the server to be ready", async () => (await fetch(`${url}/readyz`)).ok, START_MS);
  const stop = async (signal = "SIGTERM") => {
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await exited;
    clearTimeout(timer);
  };
  return {
    url,
    pid: child.pid,
    dataDir,
    stop,
    output: () => output,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    /** Stops the server and removes its data. */
    async end() {
      await stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Calls the REST API. Returns `{status, body}` for any status. */
export async function call(server, method, path, { token, body, headers = {} } = {}) {
  const response = await fetch(`${server.url}/api/v1${path}`, {
    method,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? null : JSON.parse(text) };
}

/** Returns the `data` of a REST call that must succeed. */
export async function data(server, method, path, options) {
  const { status, body } = await call(server, method, path, options);
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(body)}`);
  return body.data;
}

/** Makes a guest: `{token, user}`. */
export function guest(server) {
  return data(server, "POST", "/auth/guest", { body: {} });
}

/** Registers an account: `{token, user}`. */
export function register(server, username, password = "correct horse battery") {
  return data(server, "POST", "/auth/register", { body: { username, password } });
}

/** Makes an account a member of a room. */
export function enter(server, { token }, room) {
  return data(server, "POST", `/rooms/${room.id}/join`, { token, body: {} });
}

/** A connected socket of the real Phoenix client. */
export function connect(server, token, options = {}) {
  const socket = new Socket(`${server.url.replace(/^http/, "ws")}/chat/socket`, {
    transport: WebSocket,
    authToken: token,
    ...options,
  });
  socket.connect();
  return socket;
}

/** All events that a channel receives, in order, with promises for later ones. */
export class Client {
  constructor(server, { token, user }, options) {
    this.server = server;
    this.token = token;
    this.user = user;
    this.socket = connect(server, token, options);
  }

  /** Joins a topic and records its events. */
  async join(topic, params = {}) {
    const channel = this.socket.channel(topic, params);
    const log = [];
    const presence = new Presence(channel);
    channel.onMessage = (event, payload) => {
      if (!event.startsWith("chan_reply_")) log.push({ event, payload });
      return payload;
    };
    const reply = await answer(channel.join());
    return { channel, presence, log, reply, push: (event, payload) => answer(channel.push(event, payload)) };
  }

  close() {
    this.socket.disconnect();
  }
}

/** Pushes and returns the reply; an error reply rejects with the payload as `reply`. */
export function answer(push) {
  return new Promise((done, failed) => {
    push
      .receive("ok", done)
      .receive("error", (reply) => failed(Object.assign(new Error(`refused: ${JSON.stringify(reply)}`), { reply })))
      .receive("timeout", () => failed(new Error("no answer")));
  });
}

/** Waits until `look` returns a truthy value, and returns it. */
export async function until(what, look, patienceMs = PATIENCE_MS) {
  const end = Date.now() + patienceMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${patienceMs} ms: ${what}`);
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

/** Returns the first event of this name in a log after position `from`. */
export function event(joined, name, { from = 0, where = () => true } = {}) {
  return until(`event ${name}`, () =>
    joined.log.slice(from).find((entry) => entry.event === name && where(entry.payload)),
  );
}
