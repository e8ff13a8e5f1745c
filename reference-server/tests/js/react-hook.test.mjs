// The React hook of the npm package, with React and the Phoenix client, against the running server.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Socket } from "phoenix";
import WebSocket from "ws";
import { observed, openDocument, resize, scrollTo } from "./support/dom.mjs";
import { Project } from "./support/package.mjs";
import { Proxy } from "./support/proxy.mjs";
import { data, guest, startServer, until } from "./support/server.mjs";

const VIEW_PX = 400;
const ROW_PX = 40;

let server;
let proxy;
let project;
let rooms;
let React;
let createRoot;
let renderToString;
let useMemberList;
const cleanups = [];

before(async () => {
  server = await startServer({ args: ["--demo", "3000"] });
  proxy = await new Proxy(server).listen();
  rooms = Object.fromEntries(
    (await data(server, "GET", "/rooms", { token: (await guest(server)).token })).map(({ name, id }) => [name, id]),
  );
  openDocument();
  project = new Project(["react", "react-dom"]);
  React = await import("react");
  ({ createRoot } = await import("react-dom/client"));
  ({ renderToString } = await import("react-dom/server"));
  ({ useMemberList } = await project.load("headcount/react"));
});

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

after(async () => {
  project?.end();
  proxy?.close();
  await server?.end();
});

/** A connected socket. `sent` are the events it sent, `spoil(message)` may change what it receives. */
async function openSocket(url = server.url) {
  const { token, user } = await guest(server);
  const wire = { user, sent: [], spoil: (message) => message };
  class Wire extends WebSocket {
    send(text) {
      const [, , topic, event, payload] = JSON.parse(text);
      wire.sent.push({ topic, event, payload });
      super.send(text);
    }

    set onmessage(handle) {
      super.onmessage = (event) => handle({ data: JSON.stringify(wire.spoil(JSON.parse(event.data))) });
    }
  }
  wire.socket = new Socket(`${url.replace(/^http/, "ws")}/chat/socket`, {
    transport: Wire,
    authToken: token,
    reconnectAfterMs: () => 50,
    rejoinAfterMs: () => 50,
  });
  wire.socket.connect();
  wire.events = (event) => wire.sent.filter((entry) => entry.event === event);
  cleanups.push(() => wire.socket.disconnect());
  return wire;
}

/** Mounts a component that shows a list as a project would. `view.list` is what the hook returned last. */
function mount(source, options = {}, { strict = false } = {}) {
  const view = { list: null, renders: 0, element: document.createElement("main") };
  const h = React.createElement;
  function Members(props) {
    const list = useMemberList(props.source, props.options);
    view.list = list;
    view.renders += 1;
    const row = ({ index, top, row: shown }) =>
      h("li", { key: index, "data-index": index, style: { position: "absolute", top } }, textOf(shown));
    return h(
      "div",
      { ref: list.scrollRef, id: "scroll", style: { height: VIEW_PX, overflowY: "auto" } },
      h("ul", { ref: list.sizerRef, style: { position: "relative" } }, list.rows.map(row)),
    );
  }
  const root = createRoot(view.element, { onUncaughtError: (error) => (view.failure = error) });
  view.render = (props) => {
    const members = h(Members, { source, options, ...props });
    root.render(strict ? h(React.StrictMode, null, members) : members);
  };
  view.unmount = () => root.unmount();
  view.scroll = () => view.element.querySelector("#scroll");
  view.texts = () => [...view.element.querySelectorAll("li")].map((item) => item.textContent);
  view.render({});
  cleanups.push(() => root.unmount());
  return view;
}

function textOf(row) {
  if (row === null) return "…";
  return row.id === undefined ? `${row.group} ${row.count}` : row.body.username;
}

/** Waits until every row in view has arrived, from `index` on. */
function shown(view, index = 0) {
  return until(`rows from ${index}`, () => {
    const inView = view.list?.rows.filter((row) => row.index >= index && row.index < index + VIEW_PX / ROW_PX) ?? [];
    return inView.length === VIEW_PX / ROW_PX && inView.every(({ row }) => row !== null);
  });
}

const topicOf = (name) => `room:${rooms[name]}`;

test("rows arrive when the component is mounted, and the server answers one join", async () => {
  const { socket, events } = await openSocket();
  const view = mount(socket, { topic: topicOf("city") });
  await shown(view);
  const { list } = view;
  assert.equal(list.status, "open");
  assert.equal(list.error, null);
  assert.ok(list.counts.members >= 3000);
  assert.equal(list.total, list.counts.rows);
  assert.equal(list.height, list.total * ROW_PX);
  assert.equal(view.element.querySelector("ul").style.height, `${list.height}px`);
  assert.deepEqual(list.rows.map(({ index }) => index), list.rows.map((_, index) => index));
  const [first] = view.texts();
  assert.equal(first, `${list.groups[0].group} ${list.groups[0].count}`);
  assert.equal(events("phx_join").length, 1);
  assert.deepEqual(events("member_list_open").map(({ payload }) => payload.window), ["c:0"]);
  assert.throws(() => (list.status = "idle"), TypeError);
});

test("scrolling opens the windows around the view, resizing shows more, and keys move the active row", async () => {
  const { socket, events } = await openSocket();
  const view = mount(socket, { topic: topicOf("city") });
  await shown(view);
  scrollTo(view.scroll(), 1500 * ROW_PX);
  await shown(view, 1500);
  assert.ok(events("member_list_open").some(({ payload }) => payload.window === "c:15"));
  const top = view.list.rows[8];
  assert.equal(view.list.header?.group ?? top.row.group, top.group.group);
  await until("one anchored window", () => events("member_list_close").length > 0);
  const before = view.list.rows.length;
  resize(view.scroll(), 2 * VIEW_PX);
  await until("more rows", () => view.list.rows.length === before + VIEW_PX / ROW_PX);
  view.list.goTo(2000);
  await shown(view, 2000);
  // The active row moves with the rows that come and go above it.
  assert.ok(Math.abs(view.list.active - 2000) < 50, `${view.list.active}`);
  assert.equal(view.list.press("Home"), true);
  assert.equal(view.list.press("x"), false);
  await shown(view, 0);
  assert.equal(view.list.active, 0);
  assert.equal(view.scroll().scrollTop, 0);
  const member = view.list.rows.find(({ row }) => row?.id !== undefined).row;
  const matches = await view.list.find(member.body.username.slice(0, 2));
  await view.list.seek(`m:${matches[0].id}`, matches[0].index);
  await until("the member found", () => {
    const { active, rows } = view.list;
    return rows.find(({ index }) => index === active)?.row?.id === matches[0].id;
  });
});

test("unmounting leaves the channel that the hook joined, and lets go of the element", async () => {
  const { socket, events } = await openSocket();
  const view = mount(socket, { topic: topicOf("city"), params: { status: "idle" } });
  await shown(view);
  assert.deepEqual(events("phx_join")[0].payload, { status: "idle" });
  assert.deepEqual(observed(), [view.scroll()]);
  view.unmount();
  await until("the leave", () => events("phx_leave").length === 1);
  await until("no channel", () => socket.channels.length === 0);
  assert.deepEqual(observed(), []);
});

test("unmounting closes the windows on a channel of the page, and leaves the channel to it", async () => {
  const { socket, events } = await openSocket();
  const channel = socket.channel(topicOf("city"), {});
  const bundles = [];
  channel.on("member_list", (bundle) => bundles.push(bundle));
  const view = mount(channel);
  await until("a first rendering", () => view.list !== null);
  assert.equal(view.list.status, "connecting");
  channel.join();
  await shown(view);
  view.unmount();
  await until("the windows closed", () => events("member_list_close").length > 0);
  assert.deepEqual(events("member_list_close").map(({ payload }) => payload.window), ["c:0"]);
  assert.equal(channel.state, "joined");
  assert.deepEqual(events("phx_leave"), []);
  const again = mount(channel);
  await shown(again);
  assert.equal(events("phx_join").length, 1);
  // Closed windows bring no more frames, the new one does.
  await until("frames", () => bundles.some(({ frames }) => frames.length > 0));
});

for (const isOpen of [true, false]) {
  const when = isOpen ? "an open socket" : "a socket that is not open yet";
  test(`StrictMode mounts twice on ${when}: the second channel shows the list, the first is left`, async () => {
    const { socket, events } = await openSocket();
    if (isOpen) await until("an open socket", () => socket.isConnected());
    const view = mount(socket, { topic: topicOf("city") }, { strict: true });
    await shown(view);
    assert.equal(socket.channels.length, 1);
    assert.equal(socket.channels[0].state, "joined");
    assert.equal(events("phx_join").length - events("phx_leave").length, 1);
    assert.equal(events("phx_leave").length, isOpen ? 1 : 0);
    scrollTo(view.scroll(), 700 * ROW_PX);
    await shown(view, 700);
    assert.deepEqual(observed(), [view.scroll()]);
    assert.equal(view.failure, undefined);
  });
}

test("StrictMode on a channel of the page: its one window is opened again", async () => {
  const { socket } = await openSocket();
  const channel = socket.channel(topicOf("lobby"), {});
  await new Promise((done) => channel.join().receive("ok", done));
  const view = mount(channel, {}, { strict: true });
  await until("rows", () => view.list?.rows.some(({ row }) => row?.id !== undefined));
  assert.equal(channel.state, "joined");
});

test("a lost connection: rows and place stay, and the list works on over the next one", async () => {
  const { socket } = await openSocket(proxy.url);
  const view = mount(socket, { topic: topicOf("city") });
  await shown(view);
  scrollTo(view.scroll(), 1000 * ROW_PX);
  await shown(view, 1000);
  proxy.mode = "refuse";
  proxy.cut();
  await until("the loss is noticed", () => view.list.status === "reconnecting");
  assert.ok(view.list.rows.some(({ index, row }) => index === 1001 && row !== null), "rows stay");
  proxy.mode = "pass";
  await until("a new connection", () => view.list.status === "open");
  await until("the rows of the new connection", () => view.list.rows.every(({ row }) => row !== null));
  assert.ok(Math.abs(view.list.rows[8].index - 1000) < 60, `at ${view.list.rows[8].index}`);
  scrollTo(view.scroll(), 2000 * ROW_PX);
  await shown(view, 2000);
  assert.equal(view.list.error, null);
});

test("a malformed bundle is shown as an error; the rows stay and are asked for again", async () => {
  const wire = await openSocket();
  const view = mount(wire.socket, { topic: topicOf("city") });
  await shown(view);
  let spoiled = 0;
  wire.spoil = (message) => {
    if (message[3] !== "member_list") return message;
    spoiled += 1;
    return [...message.slice(0, 4), { ...message[4], frames: [{ window: 7 }] }];
  };
  await until("the error", () => view.list.error !== null);
  assert.equal(view.list.error.name, "MalformedBundleError");
  assert.equal(view.list.error.path, "frames[0]");
  assert.ok(spoiled > 0);
  assert.ok(view.list.rows.every(({ row }) => row !== null));
  await until("a resync", () => wire.events("member_list_resync").length > 0);
  wire.spoil = (message) => message;
  await until("a good bundle", () => view.list.error === null);
  await shown(view);
});

test("a join that is refused is an error, and a bad answer too", async () => {
  const { socket } = await openSocket();
  const view = mount(socket, { topic: "room:00000000-0000-7000-8000-000000000000" });
  await until("the refusal", () => view.list?.error);
  assert.equal(view.list.error.name, "RequestError");
  assert.equal(view.list.error.reason, "not found");
  assert.deepEqual(view.list.rows, []);
  view.render({ options: { topic: topicOf("city") } });
  await shown(view);
  assert.equal(view.list.error, null);
});

test("another topic shows another list from its top, and no source none", async () => {
  const { socket, events } = await openSocket();
  const view = mount(null, { topic: topicOf("city") });
  await until("a first rendering", () => view.list !== null);
  assert.equal(view.list.status, "idle");
  assert.deepEqual(view.list.rows, []);
  assert.deepEqual(await view.list.find("a"), []);
  view.render({ source: socket });
  await shown(view);
  scrollTo(view.scroll(), 900 * ROW_PX);
  await shown(view, 900);
  view.render({ source: socket, options: { topic: topicOf("lobby") } });
  await until("the other list", () => view.list.counts && view.list.counts.members < 100);
  assert.equal(view.scroll().scrollTop, 0);
  assert.deepEqual(events("phx_leave").map(({ topic }) => topic), [topicOf("city")]);
  view.render({ source: socket, options: { topic: null } });
  await until("no list", () => view.list.status === "idle" && view.list.rows.length === 0);
});

test("rows of another height are placed by it", async () => {
  const { socket } = await openSocket();
  const view = mount(socket, { topic: topicOf("city"), rowHeight: 20, overscan: 0 });
  await until("rows", () => view.list?.rows.length === 20 && view.list.rows.every(({ row }) => row !== null));
  assert.deepEqual(view.list.rows.map(({ top }) => top), view.list.rows.map((_, index) => index * 20));
  view.render({ options: { topic: topicOf("city"), rowHeight: 80, overscan: 1 } });
  await until("fewer rows", () => view.list.rows.length === 6 && view.list.rows.every(({ row }) => row !== null));
  assert.equal(view.list.height, view.list.total * 80);
});

test("a server renders the component without a list", () => {
  const component = () => {
    const list = useMemberList(null, {});
    return React.createElement("p", null, `${list.status} ${list.rows.length}`);
  };
  assert.equal(renderToString(React.createElement(component)), "<p>idle 0</p>");
});

test("a socket without a topic is a mistake that is told", async () => {
  const { socket } = await openSocket();
  const view = mount(socket, {});
  await until("the failure", () => view.failure);
  assert.match(view.failure.message, /needs the option `topic`/);
});
