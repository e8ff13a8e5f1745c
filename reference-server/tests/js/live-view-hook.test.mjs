// The LiveView hook of the npm package, with the client of Phoenix LiveView, against the running server.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import WebSocket from "ws";
import { observed, openDocument, scrollTo } from "./support/dom.mjs";
import { LiveView } from "./support/live-view.mjs";
import { Project } from "./support/package.mjs";
import { data, guest, startServer, until } from "./support/server.mjs";

const VIEW_PX = 400;
const ROW_PX = 40;

let server;
let project;
let rooms;
let hooks;
let LiveSocket;
let Socket;
const cleanups = [];

before(async () => {
  server = await startServer({ args: ["--demo", "3000"] });
  rooms = Object.fromEntries(
    (await data(server, "GET", "/rooms", { token: (await guest(server)).token })).map(({ name, id }) => [name, id]),
  );
  openDocument();
  ({ LiveSocket } = await import("phoenix_live_view"));
  ({ Socket } = await import("phoenix"));
  project = new Project();
  hooks = await project.load("headcount/live-view");
});

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

after(async () => {
  project?.end();
  await server?.end();
});

const element = (attributes = "", more = "") =>
  `<div id="members" phx-hook="MemberList" style="height: ${VIEW_PX}px" ${attributes}>${more}</div>`;
const ignored = (list) => element(`phx-update="ignore" data-list="${list}"`);

/** Opens a page with a LiveView of this HTML. Lists are named by their rooms; without a name it is the city's. */
async function open(html, hook = hooks.MemberListHook) {
  const topicOf = (list) => `room:${rooms[list ?? "city"]}`;
  const view = await new LiveView(server, await guest(server), topicOf, html).listen();
  document.body.innerHTML = `<div id="phx-main" data-phx-main data-phx-session="s" data-phx-static="t"></div>`;
  const socket = new LiveSocket(view.url, Socket, {
    hooks: { MemberList: hook },
    transport: WebSocket,
    params: { _csrf_token: "t" },
    reconnectAfterMs: () => 50,
    rejoinAfterMs: () => 50,
  });
  socket.connect();
  cleanups.push(async () => {
    view.render("");
    await until("the end of the hooks", () => observed().length === 0);
    socket.disconnect();
    await view.close();
    document.body.replaceChildren();
  });
  const asked = (event) => view.events.filter((entry) => entry.event === event).map(({ value }) => value);
  return { view, socket, asked };
}

const byId = (id) => document.getElementById(id);
const list = () => byId("members");
/** The rows drawn, by index. */
const drawn = (root = list()) =>
  [...root.querySelectorAll("[aria-posinset]")]
    .filter(({ hidden }) => !hidden)
    .sort((a, b) => a.getAttribute("aria-posinset") - b.getAttribute("aria-posinset"));
const kinds = (root) => drawn(root).map(({ dataset }) => dataset.kind);

/** Waits until the rows from an index on are drawn. */
function shown(index = 0, root = list) {
  return until(`rows from ${index}`, () => {
    const posinsets = root() ? drawn(root()).map((row) => Number(row.getAttribute("aria-posinset")) - 1) : [];
    return posinsets.includes(index) && !kinds(root()).includes("loading");
  });
}

test("rows are drawn when the element is mounted", async () => {
  const { asked } = await open(ignored("city"));
  await shown();
  assert.equal(list().dataset.state, "open");
  assert.deepEqual(asked("member_list_open"), [{ window: "c:0", list: "city" }]);
  const [header, member] = drawn();
  assert.equal(header.dataset.kind, "header");
  assert.equal(member.dataset.kind, "member");
  assert.match(header.textContent, /^[A-Z][a-z]+ — \d+$/);
  assert.ok(["online", "idle", "dnd"].includes(member.dataset.status), member.dataset.status);
  assert.notEqual(member.textContent, "");
  assert.ok(Number(member.getAttribute("aria-setsize")) > 3000);
  assert.equal(drawn().length, VIEW_PX / ROW_PX + 8);
});

test("scrolling and keys open the windows around the view", async () => {
  const { asked } = await open(ignored("city"));
  await shown();
  scrollTo(list(), 1500 * ROW_PX);
  await shown(1500);
  assert.ok(asked("member_list_open").some(({ window }) => window === "c:15"));
  const home = new KeyboardEvent("keydown", { key: "Home", cancelable: true });
  list().dispatchEvent(home);
  assert.equal(home.defaultPrevented, true);
  await shown(0);
  assert.ok(drawn()[0].classList.contains("active"));
  list().dispatchEvent(new KeyboardEvent("keydown", { key: "End", ctrlKey: true }));
  assert.equal(list().scrollTop, 0);
});

test("an element without phx-update: a patch empties it, and the list and its place come back", async () => {
  const { view } = await open(element("", "<p>Loading</p>"));
  await shown();
  scrollTo(list(), 900 * ROW_PX);
  await shown(900);
  view.render(element(`data-shade="2"`, "<p>Loading</p>"));
  await until("the patch", () => list().dataset.shade === "2");
  await shown(900);
  assert.equal(list().dataset.state, "open");
  assert.equal(list().tabIndex, 0);
  assert.deepEqual(observed(), [list()]);
});

test("another data-list closes the windows of the one and shows the other", async () => {
  const { view, asked } = await open(ignored("city"));
  await shown();
  scrollTo(list(), 900 * ROW_PX);
  await shown(900);
  view.render(ignored("lobby"));
  await until("the other list", () => drawn().length > 0 && drawn().length < 10);
  assert.equal(list().scrollTop, 0);
  assert.ok(asked("member_list_close").every((value) => value.list === "city"));
  assert.ok(asked("member_list_close").length > 0);
  assert.deepEqual(asked("member_list_open").at(-1), { window: "c:0", list: "lobby" });
});

test("two lists on one page: each draws the bundles of its own", async () => {
  const two = ["city", "lobby"].map((name) => ignored(name).replace(`id="members"`, `id="${name}"`));
  await open(`<main>${two.join("")}</main>`);
  await shown(0, () => byId("city"));
  await shown(0, () => byId("lobby"));
  assert.ok(drawn(byId("city")).length > 10);
  assert.ok(drawn(byId("lobby")).length < 10);
});

test("two elements of one list share its windows, which close with the last one", async () => {
  const two = ["left", "right"].map((id) => ignored("city").replace(`id="members"`, `id="${id}"`));
  const { view, asked } = await open(`<main>${two.join("")}</main>`);
  await shown(0, () => byId("left"));
  await shown(0, () => byId("right"));
  view.render(`<main>${two[1]}</main>`);
  await until("the one gone", () => !byId("left") && observed().length === 1);
  scrollTo(byId("right"), 900 * ROW_PX);
  await shown(900, () => byId("right"));
  scrollTo(byId("right"), 0);
  await shown(0, () => byId("right"));
  assert.equal(byId("right").dataset.state, "open");
  const before = asked("member_list_close").length;
  view.render("<main></main>");
  await until("the windows closed", () => asked("member_list_close").length > before);
  assert.deepEqual(asked("member_list_resync"), []);
});

test("a removed element closes its windows", async () => {
  const { view, asked } = await open(`<main>${ignored("city")}</main>`);
  await shown();
  view.render("<main><p>No list</p></main>");
  await until("the element gone", () => !list());
  await until("the windows closed", () => asked("member_list_close").length > 0);
  assert.deepEqual(asked("member_list_close"), [{ window: "c:0", list: "city" }]);
  assert.deepEqual(observed(), []);
});

test("an element removed from a component: nothing is pushed to where nobody takes it", async () => {
  const { view, asked } = await open(`<main><div data-phx-component="1" id="c">${ignored("city")}</div></main>`);
  await shown();
  assert.deepEqual(view.events.map(({ cid }) => cid), [1]);
  view.render("<main><p>No list</p></main>");
  await until("the element gone", () => !list());
  await until("the hook gone", () => observed().length === 0);
  assert.deepEqual(asked("member_list_close"), []);
});

for (const [what, fail] of [
  ["a crash of the LiveView", (view) => view.crash()],
  ["a cut connection", (view) => view.cut()],
]) {
  test(`${what}: rows and place stay, and the list works on`, async () => {
    const { view, asked } = await open(ignored("city"));
    await shown();
    scrollTo(list(), 1000 * ROW_PX);
    await shown(1000);
    const before = asked("member_list_open").length;
    fail(view);
    await until("new windows", () => asked("member_list_open").length > before);
    await until("the rows of the new viewer", () => list().dataset.state === "open");
    const [first] = drawn();
    assert.ok(Math.abs(first.getAttribute("aria-posinset") - 1000) < 60, first.getAttribute("aria-posinset"));
    scrollTo(list(), 2000 * ROW_PX);
    await shown(2000);
  });
}

const searching = (attributes) => ignored("city").replace(">", ` ${attributes}>`);
/** The rows found, once they are those of a search. */
async function found(matches) {
  await until("the rows found", () => matches(list()?.dataset.matches) && list().querySelector("[data-found]"));
  return drawn(list().querySelector("[data-found]"));
}

test("data-search: what is found covers the list, which keeps its place", async () => {
  const { view, asked } = await open(ignored("city"));
  await shown();
  scrollTo(list(), 900 * ROW_PX);
  await shown(900);
  view.render(searching(`data-search="mA"`));
  const rows = await found((matches) => matches > 50);
  assert.deepEqual(asked("member_list_search"), [{ search: "mA", page: 0, list: "city" }]);
  assert.equal(rows.length, 50);
  assert.equal(rows[0].dataset.kind, "header");
  const names = rows.filter(({ dataset }) => dataset.kind === "member").map(({ textContent }) => textContent);
  assert.ok(names.length > 40 && names.every((name) => /^ma/i.test(name)), names.join());
  assert.deepEqual([rows[0].getAttribute("aria-posinset"), rows[0].getAttribute("aria-setsize")], ["1", "-1"]);
  const all = list().dataset.matches;

  view.render(searching(`data-search="mA" data-search-page="1"`));
  await until("the next page", () => asked("member_list_search").length === 2 && drawn().some(isAt("51")));
  assert.equal(list().dataset.matches, all);
  view.render(searching(`data-search="mA" data-search-group="online"`));
  const some = await found((matches) => matches !== all);
  assert.ok(some.length > 0 && some.every(({ dataset }) => dataset.kind === "member"));
  assert.equal(some[0].getAttribute("aria-setsize"), list().dataset.matches);
  assert.equal(list().dataset.state, "open");

  view.render(ignored("city"));
  await until("the list", () => !list().querySelector("[data-found]"));
  await shown(900);
  assert.deepEqual([list().scrollTop, list().dataset.matches], [900 * ROW_PX, undefined]);
  await until("the windows closed", () => asked("member_list_close").some(({ window }) => window.startsWith("r:")));
});

const isAt = (posinset) => (row) => row.getAttribute("aria-posinset") === posinset;

test("a search is made again after a cut connection, and in another list; a refused one is an error", async () => {
  const { view, asked } = await open(searching(`data-search="ma"`));
  const rows = await found((matches) => matches > 50);
  const before = asked("member_list_search").length;
  view.cut();
  await until("the search again", () => asked("member_list_search").length > before);
  await until("an open list", () => list().dataset.state === "open");
  assert.equal((await found((matches) => matches > 50)).length, rows.length);
  view.render(searching(`data-search="ma" data-search-group="nobody"`));
  await until("the refusal", () => list().dataset.state === "failed");
  assert.match(list().dataset.error, /group/);
  assert.equal(list().dataset.matches, "");
  view.render(searching(`data-search="ma"`).replace("city", "lobby"));
  await until("the other list", () => list().dataset.state === "open" && list().dataset.matches === "0");
  assert.deepEqual(asked("member_list_search").at(-1), { search: "ma", page: 0, list: "lobby" });
});

test("an element without phx-update: a patch leaves what is found, and data-seek goes to one of them", async () => {
  const draw = (node, { row }) => {
    node.dataset.key = row === null ? "" : `m:${row.id}`;
    node.textContent = row?.body?.name ?? "";
  };
  const { view } = await open(element(`data-search="ma"`), hooks.memberListHook({ draw }));
  await found((matches) => matches > 50);
  view.render(element(`data-search="ma" data-shade="2"`));
  await until("the patch", () => list().dataset.shade === "2");
  const { key } = (await found((matches) => matches > 50)).at(-1).dataset;
  assert.match(key, /^m:.+/);
  view.render(element(`data-seek="${key}"`));
  await until("the list", () => !list().querySelector("[data-found]"));
  await until("the member", () => drawn().some(({ dataset }) => dataset.key === key));
  assert.ok(list().scrollTop > 0);
});

test("a malformed bundle is shown as an error; the rows stay and are asked for again", async () => {
  const { view, asked } = await open(ignored("city"));
  await shown();
  view.spoil = (bundle) => ({ ...bundle, version: "1" });
  await until("the error", () => list().dataset.state === "failed");
  assert.match(list().dataset.error, /^bundle\.version: /);
  assert.ok(!kinds().includes("loading"));
  await until("a resync", () => asked("member_list_resync").length > 0);
  view.spoil = (bundle) => bundle;
  await until("a good bundle", () => list().dataset.state === "open");
  assert.equal(list().dataset.error, undefined);
});

test("a refused request is an error", async () => {
  const { view } = await open(ignored("nowhere"));
  view.topicOf = () => "room:00000000-0000-7000-8000-000000000000";
  await until("the refusal", () => list()?.dataset.state === "failed");
  assert.match(list().dataset.error, /not found/);
});

test("a project draws rows of its own", async () => {
  const draw = (node, { row, index, isActive }) => {
    node.textContent = `${index} ${row?.body?.username ?? row?.group ?? "…"} ${isActive}`;
  };
  await open(ignored("lobby"), hooks.memberListHook({ draw }));
  await until("rows", () => list() && drawn().length > 1 && drawn().every((row) => !row.textContent.includes("…")));
  assert.match(drawn()[0].textContent, /^0 [a-z]+ false$/);
  assert.match(drawn()[1].textContent, /^1 \S+ false$/);
});
