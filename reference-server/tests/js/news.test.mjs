// What the lists show of conversations, rooms and servers that are not open.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, message, openPage, openRoom, picture, signIn, violations } from "./support/browser.mjs";
import { Client, data, enter, register, startServer, until } from "./support/server.mjs";

let server;
let browser;
let ada;
let bob;
let cyd;

before(async () => {
  server = await startServer();
  [ada, bob, cyd] = [await register(server, "ada"), await register(server, "bob"), await register(server, "cyd")];
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

function post({ token }, { id }, content, kind = "rooms") {
  return data(server, "POST", `/${kind}/${id}/messages`, { token, body: { content } });
}

function remove({ token }, { id }) {
  return data(server, "DELETE", `/messages/${id}`, { token });
}

function createRoom({ token }, name, guild = null) {
  const path = guild ? `/servers/${guild.id}/rooms` : "/rooms";
  return data(server, "POST", path, { token, body: { name } });
}

function createServer({ token }, name) {
  return data(server, "POST", "/servers", { token, body: { name } });
}

function converse({ token }, { user }) {
  return data(server, "POST", "/dm", { token, body: { user_id: user.id } });
}

async function open(t, name, options) {
  const page = await openPage(browser, server.url, options);
  t.after(() => page.context().close());
  await signIn(page, name);
  await page.locator(".room[aria-current]").waitFor({ state: "attached" });
  return page;
}

/** Lets the page believe that its user comes back to it. */
function comeBack(page) {
  return page.evaluate(() => globalThis.dispatchEvent(new Event("focus")));
}

test("a conversation that is not open shows its last message, and is the first", async (t) => {
  const [bobs, cyds] = [await converse(bob, ada), await converse(cyd, ada)];
  await post(bob, bobs, "first of bob", "dm");
  await post(cyd, cyds, "first of cyd", "dm");
  const page = await open(t, "ada");
  const shows = (lines) =>
    until(`conversations ${lines}`, async () => {
      const shown = await page.locator("#dm-list .dm-last").allInnerTexts();
      return JSON.stringify(shown) === JSON.stringify(lines);
    });
  await shows(["first of cyd", "first of bob"]);
  const second = await post(bob, bobs, "second of bob", "dm");
  await shows(["second of bob", "first of cyd"]);
  await page.locator(".dm", { hasText: "bob" }).locator(".badge", { hasText: "2" }).waitFor();
  await remove(bob, second);
  await comeBack(page);
  await shows(["Message deleted", "first of cyd"]);

  await page.locator(".dm", { hasText: "cyd" }).click();
  await message(page, "first of cyd").waitFor();
  await page.locator(".dm[aria-current]", { hasText: "cyd" }).waitFor();
  await shows(["Message deleted", "first of cyd"]);
  const third = await post(cyd, cyds, "second of cyd", "dm");
  await shows(["second of cyd", "Message deleted"]);
  await data(server, "PATCH", `/messages/${third.id}`, { token: cyd.token, body: { content: "edited by cyd" } });
  await shows(["edited by cyd", "Message deleted"]);
  await remove(cyd, third);
  await shows(["Message deleted", "Message deleted"]);
  assert.deepEqual(page.troubles, []);
});

test("the status of the other user of a conversation follows while the page is seen", async (t) => {
  await converse(cyd, ada).then((dm) => post(cyd, dm, "it is me", "dm"));
  const page = await openPage(browser, server.url);
  t.after(() => page.context().close());
  await page.clock.install();
  await page.reload();
  await signIn(page, "ada");
  const dot = (status) =>
    page.locator(".dm", { hasText: "cyd" }).locator(`.dot[data-status=${status}]`).waitFor({ state: "attached" });
  await dot("offline");
  const lobby = await createRoom(cyd, "gate");
  const client = new Client(server, cyd);
  t.after(() => client.close());
  await client.join(`room:${lobby.id}`);
  await comeBack(page);
  await dot("online");
  const own = await client.join(`user:${cyd.user.id}`);
  await own.push("set_status", { status: "dnd" });
  await page.clock.fastForward(61_000);
  await dot("dnd");
  await picture(page, "conversation-status");
});

test("the mark of a message that named the user goes when that is deleted", async (t) => {
  const room = await createRoom(bob, "market");
  await enter(server, ada, room);
  const page = await open(t, "ada");
  const badge = page.locator(".room", { hasText: "market" }).locator(".badge");
  const sent = await post(bob, room, "look, @ada");
  await badge.filter({ hasText: /^@1$/ }).waitFor();
  await remove(bob, sent);
  await comeBack(page);
  await badge.filter({ hasText: /^1$/ }).waitFor();
});

test("what is unread on another server is shown at that server, until it is seen", async (t) => {
  const guild = await createServer(bob, "Guild of weavers");
  const [loom, dye] = [await createRoom(bob, "loom", guild), await createRoom(bob, "dye", guild)];
  await enter(server, ada, loom);
  const page = await open(t, "ada");
  const phone = await open(t, "ada", { width: 390, height: 780, scheme: "dark" });
  const badge = (of) => of.locator(".server[aria-label^='Guild of weavers'] .badge");
  const marked = (of, text) => badge(of).filter({ hasText: text }).waitFor();
  const unread = async (of) => Number((await of.title()).match(/^\((\d+)\)/)?.[1] ?? 0);
  const before = await unread(page);
  await post(bob, loom, "one");
  await marked(page, /^1$/);
  await until("the title to count it", async () => (await unread(page)) === before + 1);
  const sent = await post(bob, loom, "two, @ada");
  await marked(page, /^@1$/);
  await page.getByRole("button", { name: "Guild of weavers, 2 unread, 1 of them for you" }).waitFor();
  await picture(page, "server-unread");
  assert.deepEqual(await violations(page), []);
  await page.reload();
  await marked(page, /^@1$/);
  await remove(bob, sent);
  await comeBack(page);
  await marked(page, /^2$/);

  // A room that was entered on another device meanwhile.
  await enter(server, ada, dye);
  await post(bob, dye, "madder and weld");
  await marked(page, /^3$/);
  await phone.getByRole("button", { name: "Show the room list" }).click();
  await badge(phone).waitFor();
  await picture(phone, "server-unread-phone");

  await page.getByRole("button", { name: "Guild of weavers" }).click();
  await openRoom(page, "loom");
  await message(page, "one").waitFor();
  assert.equal(await badge(page).count(), 0);
  await page.getByRole("button", { name: "main" }).click();
  await openRoom(page, "lobby");
  await marked(page, /^1$/);
  await marked(phone, /^1$/);
  await data(server, "PUT", `/rooms/${dye.id}/read`, { token: ada.token, body: { seq: 1 } });
  for (const of of [page, phone]) await of.locator(".server[aria-label='Guild of weavers']").waitFor();
  assert.deepEqual([...page.troubles, ...phone.troubles], []);
});
