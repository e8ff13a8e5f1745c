// The page as the server renders it: read without scripts, and taken over by them.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { enterAsGuest, launch, message, openPage, picture, settled } from "./support/browser.mjs";
import { Client, data, enter, event, register, startServer, until } from "./support/server.mjs";

let server;
let browser;
let owner;
const rooms = {};

before(async () => {
  server = await startServer({ args: ["--tenant", "default", "--tenant", "other"] });
  owner = await register(server, "ada lovelace");
  for (const [name, hidden] of [
    ["engines", false],
    ["<i>looms</i>", false],
    ["cellar", true],
  ]) {
    const body = { name, description: `about ${name}`, private: hidden };
    rooms[name] = await data(server, "POST", "/rooms", { token: owner.token, body });
  }
  // Ten messages in five seconds: several authors fill more than a page.
  for (let n = 1; n <= 60; n += 1) {
    const author = n % 10 === 1 ? await register(server, `author ${n}`) : null;
    if (author) await enter(server, author, rooms.engines);
    rooms.author = author ?? rooms.author;
    const body = { content: n === 60 ? "<b>the last</b>\nof sixty" : `message ${n}` };
    await data(server, "POST", `/rooms/${rooms.engines.id}/messages`, { token: rooms.author.token, body });
  }
  await data(server, "POST", `/rooms/${rooms.cellar.id}/messages`, { token: owner.token, body: { content: "secret" } });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

async function open(t, path, options) {
  const page = await openPage(browser, `${server.url}${path}`, options);
  t.after(() => page.context().close());
  return page;
}

test("without scripts rooms, messages and members are read, and links lead on", async (t) => {
  const page = await open(t, "/", { scripts: false });
  await page.locator(".room", { hasText: "engines" }).click();
  assert.equal(await page.title(), "#engines · headcount");
  assert.equal(await page.locator("#room-topic").innerText(), "about engines");
  const names = await page.locator(".room .room-label").allInnerTexts();
  assert.deepEqual(names, ["lobby", "engines", "<i>looms</i>"]);
  assert.equal(await page.locator(".message").count(), 50);
  const last = page.locator(".message").last();
  assert.equal(await last.locator(".message-body").innerText(), "<b>the last</b>\nof sixty");
  assert.ok(await last.isVisible());
  assert.equal(await page.locator("#members-count").innerText(), "7");
  const rows = await page.locator("#members-rendered .row").allInnerTexts();
  assert.match(rows[0], /Offline — 7/);
  assert.equal(rows.filter((row) => row.includes("ada lovelace")).length, 1);
  assert.equal(await page.locator("#composer").isVisible(), false);
  assert.ok(await page.locator(".noscript").isVisible());
  await picture(page, "no-scripts");

  await page.getByRole("link", { name: "Older messages" }).click();
  assert.equal(await page.locator(".message").count(), 10);
  assert.equal(await page.locator(".message-body").first().innerText(), "message 1");
  await page.getByRole("link", { name: "Newest messages" }).click();
  assert.equal(await page.locator(".message").count(), 50);
  assert.deepEqual(page.troubles, []);
});

test("the members who are online come first", async (t) => {
  const client = new Client(server, owner);
  t.after(() => client.close());
  const joined = await client.join(`room:${rooms.engines.id}`);
  await event(joined, "presence_diff");
  const page = await open(t, "/?room=engines", { scripts: false });
  const rows = await page.locator("#members-rendered .row").allInnerTexts();
  assert.match(rows[0], /Staff — 1/);
  assert.match(rows[1], /ada lovelace/);
  assert.equal(await page.locator("#members-rendered .row.member").first().getAttribute("data-status"), "online");
  assert.equal(await page.locator("#online-count").innerText(), "1 online");
});

test("the names of members have the colours that the scripts give them", async (t) => {
  const { token } = owner;
  const guild = await data(server, "POST", "/servers", { token, body: { name: "Guild" } });
  const at = `/servers/${guild.id}`;
  const hall = await data(server, "POST", `${at}/rooms`, { token, body: { name: "hall" } });
  for (const [n, colour] of ["#c2410c", "#1d8a4e", ""].entries()) {
    const weaver = await register(server, `weaver ${n}`);
    await enter(server, weaver, hall);
    const role = await data(server, "POST", `${at}/roles`, { token, body: { name: `role ${n}`, colour } });
    await data(server, "PUT", `${at}/members/${weaver.user.id}/roles/${role.id}`, { token, body: {} });
  }
  const coloursOf = async (page, rows) => {
    const names = page.locator(`${rows} .row.member:not([hidden]) .row-name`);
    return names.evaluateAll((nodes) => nodes.map((node) => [node.textContent, getComputedStyle(node).color]));
  };
  const plain = await open(t, `/?room=${hall.id}`, { scripts: false });
  const rendered = await coloursOf(plain, "#members-rendered");
  assert.deepEqual(rendered.map(([name]) => name), ["ada lovelace", "weaver 0", "weaver 1", "weaver 2"]);
  assert.equal(new Set(rendered.map(([, colour]) => colour)).size, 3);
  assert.deepEqual(plain.troubles, []);

  const page = await open(t, `/?room=${hall.id}`);
  await page.getByRole("button", { name: "Continue as a guest" }).click();
  await page.locator("#room-name", { hasText: "hall" }).waitFor();
  await settled(page, "members of hall");
  // The list is drawn anew while the last of them go offline.
  const drawn = await until("all members are drawn", async () => {
    const seen = new Map(await coloursOf(page, "#members-rows"));
    return rendered.every(([name]) => seen.has(name)) && seen;
  });
  for (const [name, colour] of rendered) assert.equal(drawn.get(name), colour, name);
  assert.deepEqual(page.troubles, []);
});

test("a room that is private, missing or of another site is not rendered", async (t) => {
  for (const path of [
    `/?room=${rooms.cellar.id}`,
    "/?room=cellar",
    "/?room=nothing",
    `/?room=${"0".repeat(8)}-0000-0000-0000-${"0".repeat(12)}`,
    `/?tenant=other&room=${rooms.engines.id}`,
    "/?tenant=nowhere",
  ]) {
    const response = await fetch(server.url + path);
    assert.equal(response.status, 404, path);
    const html = await response.text();
    assert.ok(!html.includes("secret") && !html.includes("message 59"), path);
  }
  const page = await open(t, "/?tenant=other", { scripts: false });
  assert.deepEqual(await page.locator(".room-label").allInnerTexts(), ["lobby"]);
  assert.match(await page.locator(".room").getAttribute("href"), /&tenant=other$/);
});

test("the scripts take the rendered page over without a blank moment", async (t) => {
  const page = await open(t, "/?room=engines");
  assert.equal(await page.locator("#app").isVisible(), false);
  await enterAsGuest(page, "engines");
  await settled(page, "members");
  // From now on every state of the log is seen, once all of it is parsed.
  await page.addInitScript(() => {
    globalThis.seen = [];
    const look = () => {
      const log = document.readyState !== "loading" && document.getElementById("messages");
      if (log) globalThis.seen.push(log.childElementCount);
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  await page.reload();
  await page.locator("#connection[data-state=open]").waitFor();
  await page.locator("#composer-text:enabled").waitFor();
  await message(page, "of sixty").waitFor();
  await settled(page, "members after the reload");
  assert.equal(new URL(page.url()).searchParams.get("room"), rooms.engines.id);
  const seen = await page.evaluate(() => globalThis.seen);
  assert.ok(seen.length > 0 && Math.min(...seen) >= 50, `the log was blank: ${seen}`);
  assert.equal(await page.locator("#members-rendered").isVisible(), false);
  assert.deepEqual(page.troubles, []);

  await page.locator(".room", { hasText: "lobby" }).click();
  await page.locator("#room-name", { hasText: "lobby" }).waitFor();
  await page.goBack();
  await page.locator("#room-name", { hasText: "engines" }).waitFor();
});
