// The page on a bad network, beside other devices, and with content that is out of proportion.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { enterAsGuest, launch, message, openPage, openRoom, picture, say } from "./support/browser.mjs";
import { Proxy } from "./support/proxy.mjs";
import { call, data, enter, guest, register, startServer, until } from "./support/server.mjs";

const ARGS = ["--auth-per-minute", "100000"];
const PASSWORD = "correct horse battery";

let server;
let browser;
let owner;

before(async () => {
  server = await startServer({ args: ARGS });
  owner = await register(server, "owner");
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

function makeRoom(name, by = owner) {
  return data(server, "POST", "/rooms", { token: by.token, body: { name } });
}

function stored(room) {
  return data(server, "GET", `/rooms/${room.id}/messages?limit=100`, { token: owner.token });
}

/** Opens a page of the server, or of a proxy before it, for the time of a test. */
async function open(t, { url = server.url } = {}) {
  const page = await openPage(browser, url);
  t.after(() => page.context().close());
  return page;
}

async function through(t, { webSocketLifeMs = null } = {}) {
  const proxy = await new Proxy(server).listen();
  t.after(() => proxy.close());
  proxy.webSocketLifeMs = webSocketLifeMs;
  return { proxy, page: await open(t, proxy) };
}

async function signIn(page, name, tab = "Sign in") {
  await page.getByRole("tab", { name: tab }).click();
  await page.locator("#username").fill(name);
  await page.locator("#password").fill(PASSWORD);
  await page.locator("#auth-submit").click();
  await page.locator("#connection[data-state=open]").waitFor();
}

test("a restart of a moment does not move the page to long polling", async (t) => {
  let own = await startServer({ args: ARGS });
  t.after(() => own.end());
  const page = await open(t, own);
  let polls = 0;
  page.on("request", (request) => {
    polls += Number(request.url().includes("/longpoll"));
  });
  await enterAsGuest(page, "lobby");
  const { port } = new URL(own.url);
  for (const signal of ["SIGTERM", "SIGKILL"]) {
    await own.stop(signal);
    await page.waitForTimeout(300);
    own = await startServer({ port, dataDir: own.dataDir, args: ARGS });
    await page.locator("#connection[data-state=open]").waitFor();
    await say(page, `after ${signal}`);
    await message(page, `after ${signal}`).waitFor();
  }
  assert.equal(polls, 0);
});

test("a socket that opens and dies at once is replaced by polling, and returns when it lasts", async (t) => {
  const { proxy, page } = await through(t, { webSocketLifeMs: 200 });
  await enterAsGuest(page, "lobby");
  await until("the page to poll", () => proxy.polls > 2, 20_000);
  await say(page, "by polls");
  await message(page, "by polls").waitFor();
  proxy.webSocketLifeMs = null;
  await until(
    "the page to stop polling",
    async () => {
      const before = proxy.polls;
      await page.waitForTimeout(2000);
      await say(page, `still here ${before}`);
      await message(page, `still here ${before}`).waitFor();
      return proxy.polls === before;
    },
    60_000,
  );
});

test("a message whose answer was lost is there once", async (t) => {
  const room = await makeRoom("acknowledged");
  const { proxy, page } = await through(t);
  const me = await enterAsGuest(page, "acknowledged");
  // The page is a member: it has joined.
  await page.locator("#members-rows .row", { hasText: me }).waitFor();
  proxy.mode = "mute";
  await say(page, "answer lost");
  await until("the message to be stored", async () => (await stored(room)).length === 1);
  proxy.cut();
  proxy.mode = "pass";
  await message(page, "answer lost").waitFor();
  // The time after which the page gives up an answer.
  await page.waitForTimeout(11_000);
  assert.equal(await page.locator(".message", { hasText: "answer lost" }).count(), 1);
  assert.equal(await page.locator(".message.failed, .message.pending").count(), 0);
  // One that never reached the server is sent by itself, once.
  proxy.mode = "refuse";
  proxy.cut();
  await say(page, "sent later");
  await page.waitForTimeout(1000);
  proxy.mode = "pass";
  await message(page, "sent later").waitFor();
  await page.locator(".message.pending").waitFor({ state: "detached" });
  assert.deepEqual(
    (await stored(room)).map(({ content }) => content),
    ["answer lost", "sent later"],
  );
});

test("a long absence leaves a hole that is shown and can be filled", async (t) => {
  const room = await makeRoom("busy");
  const { proxy, page } = await through(t);
  await enterAsGuest(page, "busy");
  await say(page, "before");
  await message(page, "before").waitFor();
  proxy.mode = "refuse";
  proxy.cut();
  const writers = await Promise.all(Array.from({ length: 120 }, () => guest(server)));
  await Promise.all(
    writers.map(async ({ token }, w) => {
      for (let i = 0; i < 10; i += 1)
        await data(server, "POST", `/rooms/${room.id}/messages`, { token, body: { content: `missed ${w}-${i}` } });
    }),
  );
  proxy.mode = "pass";
  await page.locator("#connection[data-state=open]").waitFor();
  const gap = page.locator(".gap:visible");
  await gap.waitFor();
  await until("all that is loaded by itself", async () => /^15\d messages are not/.test(await gap.innerText()));
  await gap.scrollIntoViewIfNeeded();
  await picture(page, "hole");
  await gap.getByRole("button", { name: "Load them" }).click();
  await gap.waitFor({ state: "detached" }).catch(() => {});
  assert.equal(await gap.count(), 0);
});

test("a room that is deleted, or left on another device, is closed on the page", async (t) => {
  const doomed = await makeRoom("doomed");
  const page = await open(t);
  await signIn(page, "leaver", "Register");
  await openRoom(page, "doomed");
  await say(page, "last words");
  await message(page, "last words").waitFor();
  await data(server, "DELETE", `/rooms/${doomed.id}`, { token: owner.token });
  await page.locator("#banner", { hasText: "This room was deleted." }).waitFor();
  await page.locator("#composer-text:disabled").waitFor();
  await page.locator(".room", { hasText: "doomed" }).waitFor({ state: "detached" });
  await message(page, "last words").waitFor();
  await picture(page, "room-deleted");

  const lobby = (await data(server, "GET", "/rooms", { token: owner.token })).find(({ name }) => name === "lobby");
  await openRoom(page, "lobby");
  const elsewhere = await data(server, "POST", "/auth/login", { body: { username: "leaver", password: PASSWORD } });
  await data(server, "DELETE", `/rooms/${lobby.id}/leave`, { token: elsewhere.token });
  await page.locator("#banner", { hasText: "not a member of this room any more" }).waitFor();
  await page.locator("#composer-text:disabled").waitFor();
});

const ROOMS = /\/servers\/[^/]*\/rooms\?/;

/** Returns a promise, and the function that fulfils it. */
function gate() {
  let open;
  return [new Promise((done) => (open = done)), () => open()];
}

function roomNamed(page, name) {
  return page.locator(".room", { hasText: name });
}

test("rooms that come and go while the page connects are listed and not listed", async (t) => {
  const page = await open(t);
  const [opened, openSocket] = gate();
  await page.routeWebSocket(/\/socket\/websocket/, async (socket) => {
    await opened;
    socket.connectToServer();
  });
  const removed = await makeRoom("gone meanwhile");
  const answer = page.waitForResponse(ROOMS);
  await page.getByRole("button", { name: "Continue as a guest" }).click();
  await (await answer).finished();
  await roomNamed(page, "gone meanwhile").waitFor();
  await makeRoom("come meanwhile");
  await data(server, "DELETE", `/rooms/${removed.id}`, { token: owner.token });
  openSocket();
  await roomNamed(page, "come meanwhile").waitFor();
  await roomNamed(page, "gone meanwhile").waitFor({ state: "detached" });
});

test("rooms that come and go while the list is on its way are listed and not listed", async (t) => {
  const page = await open(t);
  const [released, release] = gate();
  let answers = 0;
  await page.route(ROOMS, async (route) => {
    const response = await route.fetch();
    answers += 1;
    await released;
    await route.fulfill({ response });
  });
  const removed = await makeRoom("gone on the way");
  await page.getByRole("button", { name: "Continue as a guest" }).click();
  await until("the lists for the start and for the connection", () => answers === 2);
  await makeRoom("come on the way");
  await data(server, "DELETE", `/rooms/${removed.id}`, { token: owner.token });
  await roomNamed(page, "come on the way").waitFor();
  await roomNamed(page, "gone on the way").waitFor({ state: "detached" });
  const taken = Promise.all([1, 2].map(() => page.waitForResponse(ROOMS)));
  release();
  await taken;
  await roomNamed(page, "lobby").waitFor();
  assert.equal(await roomNamed(page, "come on the way").count(), 1);
  assert.equal(await roomNamed(page, "gone on the way").count(), 0);
});

test("rooms beyond the first hundred, and those that others make, are listed", async (t) => {
  const second = await register(server, "second");
  for (let i = 0; i < 60; i += 1) await makeRoom(`plenty ${i}`);
  for (let i = 60; i < 120; i += 1) await makeRoom(`plenty ${i}`, second);
  const page = await open(t);
  await signIn(page, "maker", "Register");
  await page.locator(".room", { hasText: "plenty 119" }).waitFor();
  await page.getByRole("button", { name: "Create a room" }).click();
  await page.locator("#room-form-name").fill("my own room");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.locator("#room-name", { hasText: "my own room" }).waitFor();
  await page.locator(".room[aria-current]", { hasText: "my own room" }).waitFor();
  await page.reload();
  await page.locator("#room-name", { hasText: "my own room" }).waitFor();
  const made = await makeRoom("made meanwhile");
  await page.locator(".room", { hasText: "made meanwhile" }).waitFor();
  await data(server, "DELETE", `/rooms/${made.id}`, { token: owner.token });
  await page.locator(".room", { hasText: "made meanwhile" }).waitFor({ state: "detached" });
});

test("an invisible user stays so over a reload, and signing out shows the sign-in form", async (t) => {
  const page = await open(t);
  await signIn(page, "ghost", "Register");
  await openRoom(page, "lobby");
  const watcher = await open(t);
  await enterAsGuest(watcher, "lobby");
  await watcher.locator("#online-faces").getByLabel("ghost").waitFor();
  await page.locator("#me-status").click();
  await page.getByRole("menuitemradio", { name: "Invisible" }).click();
  await watcher.locator("#online-faces").getByLabel("ghost").waitFor({ state: "detached" });
  await page.reload();
  await page.locator("#composer-text:enabled").waitFor();
  await page.locator("#me-dot[data-status=invisible]").waitFor();
  // A message of the same page comes after its join.
  await say(page, "unseen");
  await message(watcher, "unseen").waitFor();
  assert.equal(await watcher.locator("#online-faces").getByLabel("ghost").count(), 0);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.locator("#tab-login[aria-selected=true]").waitFor();
  assert.equal(await page.locator("#auth-submit").innerText(), "Sign in");
});

test("long names, right-to-left names and tall messages keep the page in shape", async (t) => {
  const names = ["שלוםעולםשלוםעולםשלוםעולםשלום", "مرحبابالعالممرحبابالعالم", "w".repeat(32)];
  const room = await makeRoom("R".repeat(80));
  const wide = await makeRoom(`סלון ${"ש".repeat(70)}`);
  for (const name of names) {
    const author = await register(server, name);
    for (const { id } of [room, wide]) {
      await enter(server, author, { id });
      await data(server, "POST", `/rooms/${id}/messages`, {
        token: author.token,
        body: { content: `said by one with a name, in a room with one (${name.length})` },
      });
    }
    await data(server, "POST", `/rooms/${room.id}/messages`, {
      token: author.token,
      body: { content: `top${"\n".repeat(600)}bottom` },
    });
  }
  const page = await open(t);
  await page.getByRole("button", { name: "Continue as a guest" }).click();
  for (const [width, made] of [
    [1280, room],
    [1280, wide],
    [390, room],
    [390, wide],
  ]) {
    await page.setViewportSize({ width, height: 780 });
    await page.goto(`${server.url}/?room=${made.id}`);
    await page.locator("#composer-text:enabled").waitFor();
    await page.locator(".message").first().waitFor();
    const shape = await page.evaluate(() => {
      const height = (selector) => Math.max(...[...document.querySelectorAll(selector)].map((n) => n.clientHeight));
      return {
        overflow: document.documentElement.scrollWidth - innerWidth,
        log: document.getElementById("log").scrollWidth - document.getElementById("log").clientWidth,
        head: height(".message-head"),
        title: height("#room-name"),
        room: height(".room"),
        composer: height("#composer-text"),
        message: height(".message") / document.getElementById("log").clientHeight,
      };
    });
    assert.ok(shape.overflow <= 0 && shape.log <= 0, JSON.stringify(shape));
    assert.ok(shape.head < 30 && shape.title < 30 && shape.room < 45 && shape.composer < 50, JSON.stringify(shape));
    assert.ok(shape.message < 0.7, JSON.stringify(shape));
    await picture(page, `names-${width}-${made === room ? "long" : "rtl"}`);
  }
  await page.setViewportSize({ width: 1280, height: 780 });
  await page.goto(`${server.url}/?room=${room.id}`);
  await page.getByRole("button", { name: "Show all" }).first().click();
  await until("a message in full", () =>
    page.evaluate(() => Math.max(...[...document.querySelectorAll(".message-body")].map((n) => n.clientHeight)) > 3000),
  );
  const refused = await call(server, "POST", "/rooms", { token: owner.token, body: { name: "R".repeat(81) } });
  assert.equal(refused.status, 422);
});
