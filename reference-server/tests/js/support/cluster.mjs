// The cluster that `make cluster` starts, and a load balancer before its nodes.

import { spawn } from "node:child_process";
import net from "node:net";
import { join } from "node:path";
import { BINARY, ROOT, START_MS, until } from "./server.mjs";

const NODE = /^node \d+: (http:\/\/\S+) \(process (\d+)\)$/gm;

/** Starts NATS, PostgreSQL and three nodes as `make cluster` does. Its `nodes` are `{url, pid}`. */
export async function startCluster(args = []) {
  const child = spawn(join(ROOT, ".ci/cluster"), ["--port", "0", "--admin-addr", "127.0.0.1:0", ...args], {
    env: { ...process.env, HEADCOUNT_SERVER: BINARY },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = new Promise((done) => child.once("exit", done));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const found = () => [...output.matchAll(NODE)].map(([, url, pid]) => ({ url, pid: Number(pid) }));
  const nodes = await until("three nodes", () => {
    if (child.exitCode !== null) throw new Error(`the cluster ended with ${child.exitCode}:\n${output}`);
    return output.includes("Ctrl-C ends all") && found();
  }, START_MS);
  return {
    nodes,
    /** Ends all as Ctrl-C does. Returns what was printed. */
    async end() {
      child.kill("SIGINT");
      await exited;
      return output;
    },
  };
}

/** Passes each connection on to the first of these nodes that takes it, as a load balancer does. */
export class Balancer {
  #clients = new Set();

  constructor(nodes) {
    this.nodes = nodes;
    // The node of each WebSocket, in the order in which they opened.
    this.webSockets = [];
    this.listener = net.createServer((client) => this.#pass(client, 0));
  }

  /** Listens on a free port; `url` is set then. */
  async listen() {
    await new Promise((done) => this.listener.listen(0, "127.0.0.1", done));
    this.url = `http://127.0.0.1:${this.listener.address().port}`;
    return this;
  }

  #pass(client, choice) {
    const node = this.nodes[choice];
    if (!node) {
      client.destroy();
      return;
    }
    this.#clients.add(client);
    client.on("error", () => {});
    const server = net.connect(Number(new URL(node.url).port), "127.0.0.1");
    server.once("error", () => (server.pending ? this.#pass(client, choice + 1) : client.destroy()));
    server.once("connect", () => {
      client.once("data", (bytes) => {
        if (bytes.includes("/socket/websocket")) this.webSockets.push(node);
      });
      client.pipe(server).pipe(client);
      server.once("close", () => client.destroy());
    });
    client.once("close", () => {
      this.#clients.delete(client);
      server.destroy();
    });
  }

  close() {
    for (const client of this.#clients) client.destroy();
    this.listener.close();
  }
}
