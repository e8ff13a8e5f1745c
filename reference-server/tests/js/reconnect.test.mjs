// The page when its server stops and restarts, and when its token is not valid.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, test } from "node:test";
import { enterAsGuest, launch, message, openPage, picture, say, scrollTo, settled } from "./support/browser.mjs";
import { data, register, startServer, until } from "./support/server.mjs";

const DEMO = ["--demo", "3000"];

let server;
let browser;

before(async () => {
  server = await startServer({ args: DEMO });
  const owner = await register(server, "owner");
  await data(server, "POST", "/rooms", { token: owner.token, body: { name: "salon" } });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(server.dataDir, { recursive: true, force: true });
});

test("the server restarts: the page shows it, reconnects by itself and works on", async () => {
  const page = await openPage(browser, server.url);
  await enterAsGuest(page, "salon");
  await say(page, "before the restart");
  await message(page, "before the restart").waitFor();
  await settled(page, "before");
  const { port } = new URL(server.url);
  await server.stop("SIGKILL");
  await page.locator("#connection[data-state=reconnecting]").waitFor();
  await page.locator("#banner", { hasText: "Reconnecting" }).waitFor();
  await picture(page, "reconnecting");
  server = await startServer({ port, dataDir: server.dataDir, args: DEMO });
  assert.equal(new URL(server.url).port, port);
  await page.locator("#connection[data-state=open]").waitFor();
  await page.locator("#banner").waitFor({ state: "hidden" });
  await page.locator("#online-count", { hasText: "1 online" }).waitFor();
  assert.equal(await message(page, "before the restart").count(), 1);
  await say(page, "after the restart");
  await message(page, "after the restart").waitFor();
  await settled(page, "after");
  await page.context().close();
});

/** Opens the long list in the middle. Returns the page and the index of its first visible row. */
async function openMiddle(t, route = null) {
  const page = await openPage(browser, server.url);
  t.after(() => page.context().close());
  if (route) {
    await page.routeWebSocket(/\/socket\/websocket/, route);
    await page.reload();
  }
  await enterAsGuest(page, "city");
  await settled(page, "top");
  await scrollTo(page, 0.5);
  await page.waitForTimeout(500);
  const { rows } = await settled(page, "before");
  return { page, middle: rows[0].index };
}

/** Restarts the server with these arguments and waits until the page is connected again. */
async function restart(page, args) {
  const { port } = new URL(server.url);
  await server.stop("SIGKILL");
  await page.locator("#connection[data-state=reconnecting]").waitFor();
  server = await startServer({ port, dataDir: server.dataDir, args });
  await page.locator("#connection[data-state=open]").waitFor();
}

async function assertStays(page, middle) {
  await page.waitForTimeout(500);
  const { rows } = await settled(page, "after");
  assert.ok(Math.abs(rows[0].index - middle) < 200, `${middle} became ${rows[0].index}`);
  assert.ok(rows.every(({ kind, tag }) => kind === "header" || tag === "simulated"));
}

test("a restart in the middle of a long list: the reader stays in the middle", async (t) => {
  const { page, middle } = await openMiddle(t);
  await restart(page, DEMO);
  await assertStays(page, middle);
});

test("the reader stays while the list of a new connection is late, and the connection is lost again", async (t) => {
  const sockets = [];
  const held = [];
  let holding = false;
  const { page, middle } = await openMiddle(t, (socket) => {
    const upstream = socket.connectToServer();
    sockets.push(socket);
    upstream.onMessage((text) => {
      if (holding && String(text).includes('"frames"')) held.push(() => socket.send(text));
      else socket.send(text);
    });
  });
  holding = true;
  for (const height of [700, 800]) {
    const before = held.length;
    await sockets.at(-1).close({ code: 1012 });
    await until("the list of the new connection", () => held.length > before);
    await page.setViewportSize({ width: 1280, height });
    await page.waitForTimeout(200);
  }
  holding = false;
  for (const send of held) send();
  await assertStays(page, middle);
});

test("the connection is cut: the page gets what changed in its windows, and nothing anew", async (t) => {
  const sockets = [];
  const asked = [];
  const answered = [];
  const { page, middle } = await openMiddle(t, (socket) => {
    const upstream = socket.connectToServer();
    sockets.push(socket);
    socket.onMessage((text) => {
      const [, reference, , event, payload] = JSON.parse(text);
      if (event.startsWith("member_list_")) asked.push({ socket: sockets.indexOf(socket), reference, event, payload });
      upstream.send(text);
    });
    upstream.onMessage((text) => {
      if (String(text).includes('"frames"')) answered.push(JSON.parse(text));
      socket.send(text);
    });
  });
  const before = sockets.length;
  await sockets.at(-1).close({ code: 1012 });
  await page.locator("#connection[data-state=reconnecting]").waitFor();
  await until("the page to be back", () => asked.some(({ socket }) => socket >= before));
  await page.locator("#connection[data-state=open]").waitFor();
  await page.waitForTimeout(1000);
  const since = asked.filter(({ socket }) => socket >= before);
  assert.equal(since[0].event, "member_list_resume");
  const [, , , , { response }] = answered.find((frame) => frame[1] === since[0].reference && frame[3] === "phx_reply");
  const held = since[0].payload.held.map(({ window }) => window);
  assert.deepEqual(response.frames.map(({ window, kind }) => [window, kind]), held.map((window) => [window, "delta"]));
  assert.deepEqual(since.filter(({ event }) => event.endsWith("open") || event.endsWith("resync")), []);
  await assertStays(page, middle);
  await picture(page, "resumed");
});

test("the reader stays while the list of a restarted server is still filling", async (t) => {
  const { page, middle } = await openMiddle(t);
  await restart(page, ["--demo", "100"]);
  await settled(page, "a short list");
  await restart(page, DEMO);
  await assertStays(page, middle);
});

test("an invalid token leads back to the entrance, with a reason", async () => {
  const page = await openPage(browser, server.url);
  await page.evaluate(() =>
    sessionStorage.setItem(
      "headcount.session",
      JSON.stringify({ token: "stale", user: { id: "x", username: "stale" } }),
    ),
  );
  await page.reload();
  await page.locator("#auth-error", { hasText: "session has ended" }).waitFor();
  await enterAsGuest(page, "salon");
  await page.context().close();
});

test("without WebSockets the page falls back to long polling", async () => {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    globalThis.WebSocket = class {
      constructor() {
        this.readyState = 3;
        setTimeout(() => {
          this.onerror?.(new Event("error"));
          this.onclose?.(new CloseEvent("close", { code: 1006 }));
        });
      }

      close() {}
    };
  });
  const page = await context.newPage();
  await page.goto(server.url);
  await enterAsGuest(page, "salon");
  await say(page, "by long polling");
  await message(page, "by long polling").waitFor();
  await page.locator("#online-count", { hasText: "1 online" }).waitFor();
  await settled(page, "the members");
  await context.close();
});
