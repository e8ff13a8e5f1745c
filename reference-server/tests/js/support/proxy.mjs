// A proxy between page and server that can lose, cut and refuse what passes.

import net from "node:net";

/** Passes connections on to the server. `mode` "mute" loses what the server sends over WebSockets, "refuse" all. */
export class Proxy {
  #pairs = new Set();

  constructor(server) {
    this.target = Number(new URL(server.url).port);
    this.mode = "pass";
    // WebSockets are cut this long after they have opened; null: never.
    this.webSocketLifeMs = null;
    this.webSockets = 0;
    this.polls = 0;
    this.listener = net.createServer((client) => this.#accept(client));
  }

  /** Listens on a free port; `url` is set then. */
  async listen() {
    await new Promise((done) => this.listener.listen(0, "127.0.0.1", done));
    this.url = `http://127.0.0.1:${this.listener.address().port}`;
    return this;
  }

  #accept(client) {
    if (this.mode === "refuse") {
      client.destroy();
      return;
    }
    const server = net.connect(this.target, "127.0.0.1");
    const pair = { client, server, isWebSocket: false };
    this.#pairs.add(pair);
    const end = () => {
      client.destroy();
      server.destroy();
      this.#pairs.delete(pair);
    };
    client.on("data", (bytes) => {
      const path = bytes.toString("latin1").match(/^(?:GET|POST) (\S+)/)?.[1] ?? "";
      if (path.includes("/socket/longpoll")) this.polls += 1;
      if (path.includes("/socket/websocket")) {
        this.webSockets += 1;
        pair.isWebSocket = true;
        if (this.webSocketLifeMs !== null) setTimeout(end, this.webSocketLifeMs);
      }
      server.write(bytes);
    });
    server.on("data", (bytes) => {
      if (this.mode !== "mute" || !pair.isWebSocket) client.write(bytes);
    });
    for (const side of [client, server]) side.on("close", end).on("error", end);
  }

  /** Cuts all open connections. */
  cut() {
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
    this.#pairs.clear();
  }

  close() {
    this.cut();
    this.listener.close();
  }
}
