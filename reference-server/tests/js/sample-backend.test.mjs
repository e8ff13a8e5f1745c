// The sample of a site whose backend proxies the API under a path of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, openPage, picture } from "./support/browser.mjs";
import { ROOT, data, guest, startServer } from "./support/server.mjs";

let server;
let site;
let url;
let browser;

before(async () => {
  server = await startServer();
  const env = { ...process.env, CHAT_URL: server.url, PORT: "0" };
  site = spawn(process.execPath, [join(ROOT, "reference-server/sample-backend/backend.mjs")], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  url = await new Promise((found) => {
    site.stdout.on("data", (chunk) => found(String(chunk).match(/http:\S+/)[0]));
  });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  site?.kill();
  await server?.end();
});

test("a visitor reads and writes through the site alone", async (t) => {
  const other = await guest(server);
  const lobby = (await data(server, "GET", "/rooms", { token: other.token })).find(({ name }) => name === "lobby");
  await data(server, "POST", `/rooms/${lobby.id}/messages`, { token: other.token, body: { content: "from the chat" } });
  const page = await openPage(browser, url);
  t.after(() => page.context().close());
  const hosts = new Set();
  page.on("request", (request) => hosts.add(new URL(request.url()).host));
  await page.locator("li", { hasText: "from the chat" }).waitFor();
  await page.locator("#text").fill("from the site");
  await page.getByRole("button", { name: "Say it" }).click();
  await page.locator("li", { hasText: "from the site" }).waitFor();
  const name = await page.locator("#name").innerText();
  const messages = await data(server, "GET", `/rooms/${lobby.id}/messages`, { token: other.token });
  assert.deepEqual(
    messages.map(({ content, user }) => [content, user.username]),
    [
      ["from the chat", other.user.username],
      ["from the site", name],
    ],
  );
  assert.equal(await page.evaluate(() => document.cookie), "", "no script reads the token");
  assert.deepEqual([...hosts], [new URL(url).host]);
  await picture(page, "sample-backend");
  assert.deepEqual(page.troubles, []);
});

test("only what the page needs is passed on, and only with a session", async () => {
  const lobby = "018f0000-0000-7000-8000-000000000001";
  for (const [method, path, status] of [
    ["GET", "rooms", 401],
    ["GET", "users", 404],
    ["DELETE", `rooms/${lobby}`, 404],
    ["GET", `rooms/..%2f..%2fhealthz/messages`, 404],
  ]) {
    const response = await fetch(`${url}/api/chat/${path}`, { method });
    assert.equal(response.status, status, path);
  }
});
