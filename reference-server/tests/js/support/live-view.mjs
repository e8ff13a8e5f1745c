// A LiveView as the npm package `phoenix_live_view` meets it: the part of its protocol that a page with a hook needs.
// The LiveView is the viewer of a room's member list on the running server, and passes requests and bundles on.

import { WebSocketServer } from "ws";
import { Client } from "./server.mjs";

/** Serves one LiveView, whose HTML is `html`; every join is a new process with a new viewer. */
export class LiveView {
  /** Every event that hooks pushed: `{event, value, cid}`. */
  events = [];
  #views = new Set();

  constructor(server, { token, user }, topicOf, html) {
    this.server = server;
    this.viewer = { token, user };
    this.topicOf = topicOf;
    this.html = html;
    this.spoil = (bundle) => bundle;
    this.sockets = new Set();
  }

  async listen(port = 0) {
    this.listener = new WebSocketServer({ port, host: "127.0.0.1" });
    await new Promise((done) => this.listener.once("listening", done));
    this.port = this.listener.address().port;
    this.url = `ws://127.0.0.1:${this.port}/live`;
    this.listener.on("connection", (socket) => this.#accept(socket));
    return this;
  }

  #accept(socket) {
    this.sockets.add(socket);
    const state = { socket, channels: new Map(), joinRef: null, client: null };
    socket.on("message", (text) => this.#onMessage(state, JSON.parse(text)));
    socket.on("close", () => {
      this.sockets.delete(socket);
      this.#end(state);
    });
  }

  #end(state) {
    state.client?.close();
    this.#views.delete(state);
  }

  async #onMessage(state, [joinRef, ref, topic, event, payload]) {
    const reply = (response, status = "ok") =>
      state.socket.send(JSON.stringify([joinRef, ref, topic, "phx_reply", { status, response }]));
    if (event === "heartbeat" || event.startsWith("cids_")) return reply({});
    if (event === "phx_leave") {
      this.#end(state);
      return reply({});
    }
    if (event === "phx_join") {
      Object.assign(state, { joinRef, topic, client: new Client(this.server, this.viewer), channels: new Map() });
      this.#views.add(state);
      return reply({ rendered: { s: [this.html] }, liveview_version: "1.2.12" });
    }
    this.events.push(payload);
    return reply({ diff: { r: await this.#answer(state, payload) } });
  }

  /** Answers as `{:reply, map, socket}` does: with a bundle, or with the reason of a refusal. */
  async #answer(state, { event, value: { list, ...request } }) {
    try {
      const { push } = await this.#channel(state, list);
      return this.spoil({ ...(await push(event, request)), ...(list && { list }) });
    } catch (error) {
      return error.reply ?? { reason: error.message };
    }
  }

  /** Returns the viewer's channel of a list; its bundles are pushed to the page. */
  #channel(state, list) {
    if (!state.channels.has(list)) {
      const joined = state.client.join(this.topicOf(list)).then((entry) => {
        entry.channel.on("member_list", (bundle) =>
          this.#push(state, { e: [["member_list", this.spoil({ ...bundle, ...(list && { list }) })]] }),
        );
        return entry;
      });
      state.channels.set(list, joined);
    }
    return state.channels.get(list);
  }

  #push(state, diff) {
    state.socket.send(JSON.stringify([state.joinRef, null, state.topic, "diff", diff]));
  }

  /** Renders other HTML. */
  render(html) {
    this.html = html;
    for (const state of this.#views) this.#push(state, { s: [html] });
  }

  /** Ends the process of every view, as a crash does: each view joins again. */
  crash() {
    for (const state of [...this.#views]) {
      this.#end(state);
      state.socket.send(JSON.stringify([state.joinRef, state.joinRef, state.topic, "phx_error", {}]));
    }
  }

  /** Cuts all connections. */
  cut() {
    for (const socket of this.sockets) socket.terminate();
  }

  async close() {
    this.cut();
    await new Promise((done) => this.listener.close(done));
  }
}
