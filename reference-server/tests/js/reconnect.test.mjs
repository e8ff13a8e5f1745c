// The page when its server stops and restarts, and when its token is not valid.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, test } from "node:test";
import { enterAsGuest, launch, message, openPage, picture, say, scrollTo, settled } from "./support/browser.mjs";
import { data, register, startServer } from "./support/server.mjs";

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

test("a restart in the middle of a long list: the reader stays in the middle", async () => {
  const page = await openPage(browser, server.url);
  await enterAsGuest(page, "city");
  await settled(page, "top");
  await scrollTo(page, 0.5);
  await page.waitForTimeout(500);
  const before = await settled(page, "before");
  const { port } = new URL(server.url);
  await server.stop("SIGKILL");
  await page.locator("#connection[data-state=reconnecting]").waitFor();
  server = await startServer({ port, dataDir: server.dataDir, args: DEMO });
  await page.locator("#connection[data-state=open]").waitFor();
  await page.waitForTimeout(500);
  const after = await settled(page, "after");
  assert.ok(
    Math.abs(after.rows[0].index - before.rows[0].index) < 200,
    `${before.rows[0].index} became ${after.rows[0].index}`,
  );
  assert.ok(after.rows.every(({ kind, tag }) => kind === "header" || tag === "simulated"));
  await page.context().close();
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
