// Accounts on the page: edits, unread marks, conversations, invitations, status and password.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, message, openPage, openRoom, picture, say, violations } from "./support/browser.mjs";
import { Client, data, enter, event, register, startServer, until } from "./support/server.mjs";

const PASSWORD = "correct horse battery";

let server;
let browser;
let ada;
let bob;
const rooms = {};

before(async () => {
  server = await startServer({ graceMs: 5000 });
  [ada, bob] = [await register(server, "ada"), await register(server, "bob")];
  for (const name of ["engines", "looms"])
    rooms[name] = await data(server, "POST", "/rooms", { token: ada.token, body: { name } });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

async function signIn(page, name, password = PASSWORD) {
  await page.locator("#username").fill(name);
  await page.locator("#password").fill(password);
  await page.locator("#auth-submit").click();
  await page.locator("#connection[data-state=open]").waitFor();
}

async function open(t, name, options) {
  const page = await openPage(browser, server.url, options);
  t.after(() => page.context().close());
  await signIn(page, name);
  return page;
}

test("a message is edited and deleted, on all pages", async (t) => {
  const [author, reader] = [await open(t, "ada"), await open(t, "bob", { scheme: "dark" })];
  await openRoom(author, "engines");
  await openRoom(reader, "engines");
  await say(author, "frist!");
  await message(reader, "frist!").hover();
  assert.equal(await reader.locator(".message-tools").count(), 0, "another's message has no tools");

  await message(author, "frist!").hover();
  await picture(author, "message-tools");
  await author.getByRole("button", { name: "Edit message" }).click();
  await author.getByRole("textbox", { name: "Edit message" }).fill("first");
  await author.getByRole("textbox", { name: "Edit message" }).press("Escape");
  await message(author, "frist!").hover();
  await author.getByRole("button", { name: "Edit message" }).click();
  await author.getByRole("textbox", { name: "Edit message" }).fill("first");
  await author.getByRole("textbox", { name: "Edit message" }).press("Enter");
  for (const page of [author, reader]) {
    await message(page, "first").waitFor();
    assert.equal(await message(page, "frist!").count(), 0);
    await page.locator(".edited").waitFor();
  }
  await message(author, "first").hover();
  await author.getByRole("button", { name: "Delete message" }).click();
  await author.getByRole("button", { name: "Keep" }).click();
  await message(author, "first").hover();
  await author.getByRole("button", { name: "Delete message" }).click();
  await author.getByRole("button", { name: "Delete", exact: true }).click();
  for (const page of [author, reader]) {
    await message(page, "Message deleted").waitFor();
    assert.equal(await message(page, "first").count(), 0);
  }
  await reader.reload();
  await message(reader, "Message deleted").waitFor();
});

test("keys reach the tools of a message, and are not lost when it is edited or deleted", async (t) => {
  await data(server, "POST", "/rooms", { token: ada.token, body: { name: "keyhole" } });
  const page = await open(t, "ada");
  await openRoom(page, "keyhole");
  await say(page, "by keys");
  await message(page, "by keys").waitFor();
  const focused = () => page.evaluate(() => document.activeElement.ariaLabel);
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await page.locator("#composer-text").focus();
  await press("Shift+Tab");
  assert.equal(await focused(), "Delete message");
  await press("Shift+Tab");
  assert.equal(await focused(), "Edit message");
  await picture(page, "message-tools-keys");
  await press("Enter", "Escape");
  assert.equal(await focused(), "Edit message");
  const box = page.getByRole("textbox", { name: "Edit message" });
  const log = page.locator("#log");
  await press("Enter");
  await box.fill("by hand");
  await press("Enter");
  await message(page, "by hand").locator(".edited").waitFor();
  await box.waitFor({ state: "detached" });
  assert.equal(await focused(), "Edit message");
  await press("Tab", "Enter", "Tab", "Enter");
  assert.equal(await page.getByRole("button", { name: "Keep" }).count(), 0);
  assert.equal(await focused(), "Edit message");
  await press("Tab", "Enter", "Enter");
  await message(page, "by hand").waitFor({ state: "detached" });
  assert.equal(await log.evaluate((element) => element === document.activeElement), true);

  // The limit is one of code points, for those who edit as for those who write.
  await say(page, "🙂".repeat(3000));
  await message(page, "🙂🙂🙂").waitFor();
  await page.locator("#composer-text").focus();
  await press("Shift+Tab", "Shift+Tab", "Enter", "End");
  await page.keyboard.insertText("🙂".repeat(1001));
  await press("Enter");
  await page.getByText("Too long by 1 character: a message has at most 4000.").waitFor();
  await press("Backspace", "Enter");
  await message(page, "🙂🙂🙂").locator(".edited").waitFor();
  const shown = await message(page, "🙂🙂🙂").locator(".message-body").innerText();
  assert.equal(shown.match(/🙂/gu).length, 4000);
  assert.deepEqual(page.troubles, []);
});

test("unread messages are marked until they are seen, on all devices", async (t) => {
  await enter(server, bob, rooms.looms);
  const [desk, phone] = [await open(t, "bob"), await open(t, "bob", { width: 900 })];
  for (const page of [desk, phone]) {
    await page.locator(".room[aria-current]").waitFor();
  }
  const badge = (page) => page.locator(".room", { hasText: "looms" }).locator(".badge");
  for (const content of ["one", "two"])
    await data(server, "POST", `/rooms/${rooms.looms.id}/messages`, { token: ada.token, body: { content } });
  await desk.locator(".badge", { hasText: "2" }).waitFor();
  await until("the title to count", async () => (await desk.title()).startsWith("(2) "));
  await picture(desk, "unread");
  await desk.reload();
  await badge(desk).waitFor();
  await openRoom(desk, "looms");
  await badge(desk).waitFor({ state: "detached" });
  await badge(phone).waitFor({ state: "detached" });
  await until("the server to know", async () => {
    const list = await data(server, "GET", "/rooms", { token: bob.token });
    return list.find(({ name }) => name === "looms").read_seq === 2;
  });
});

test("messages that name the user are marked as such until they are seen", async (t) => {
  const page = await open(t, "bob");
  await page.locator(".room[aria-current]").waitFor();
  const room = await data(server, "POST", "/rooms", { token: ada.token, body: { name: "gears" } });
  await enter(server, bob, room);
  const post = (content) => data(server, "POST", `/rooms/${room.id}/messages`, { token: ada.token, body: { content } });
  const badge = page.locator(".room", { hasText: "gears" }).locator(".badge");
  await page.reload();
  await post("for everybody");
  await badge.filter({ hasText: /^1$/ }).waitFor();
  await post("@Bob, look");
  await badge.filter({ hasText: /^@1$/ }).waitFor();
  await post("once more @bob");
  await badge.filter({ hasText: /^@2$/ }).waitFor();
  assert.equal(await badge.getAttribute("aria-label"), "3 unread, 2 of them for you");
  assert.deepEqual(await violations(page), []);
  await picture(page, "mentions");
  await page.reload();
  await badge.filter({ hasText: /^@2$/ }).waitFor();
  await openRoom(page, "gears");
  await badge.waitFor({ state: "detached" });
  await post("@bob, while you look");
  await message(page, "while you look").waitFor();
  await openRoom(page, "looms");
  await post("for everybody again");
  await badge.filter({ hasText: /^1$/ }).waitFor();
});

test("a conversation is begun by name, and reaches the other page at its first message", async (t) => {
  const [from, to] = [await open(t, "ada"), await open(t, "bob", { scheme: "dark" })];
  await from.getByRole("button", { name: "Write to a user" }).click();
  await from.locator("#user-form-name").fill("nobody");
  await from.getByRole("button", { name: "Write", exact: true }).click();
  await from.locator("#user-error", { hasText: "There is no user named nobody" }).waitFor();
  await from.locator("#user-form-name").fill("bob");
  await from.getByRole("button", { name: "Write", exact: true }).click();
  await from.locator("#room-name", { hasText: "bob" }).waitFor();
  await from.locator("#composer-text:enabled").waitFor();
  assert.equal(await to.locator(".dm").count(), 0);
  await say(from, "only for you");
  const dm = to.locator(".dm", { hasText: "ada" });
  await dm.locator(".badge", { hasText: "1" }).waitFor();
  await dm.locator(".dm-last", { hasText: "only for you" }).waitFor();
  assert.equal(await dm.locator(".dot").getAttribute("data-status"), "online");
  await picture(to, "conversation-unread");
  await dm.click();
  await message(to, "only for you").waitFor();
  await dm.locator(".badge").waitFor({ state: "detached" });
  await say(to, "thank you");
  await message(from, "thank you").waitFor();
  await picture(from, "conversation");
  await from.reload();
  await message(from, "thank you").waitFor();
  assert.equal(await from.locator("#room-name").innerText(), "bob");
  assert.deepEqual([...from.troubles, ...to.troubles], []);
});

test("a user is invited to a private room", async (t) => {
  const [host, friend] = [await open(t, "ada"), await open(t, "bob")];
  await host.getByRole("button", { name: "Create a room" }).click();
  await host.locator("#room-form-name").fill("cellar");
  await host.getByLabel("Private").check();
  await host.getByRole("button", { name: "Create", exact: true }).click();
  await host.locator("#room-name", { hasText: "cellar" }).waitFor();
  await say(host, "down here");
  assert.equal(await friend.locator(".room", { hasText: "cellar" }).count(), 0);
  await host.getByRole("button", { name: "Invite a user" }).click();
  await host.locator("#user-form-name").fill("bob");
  await host.getByRole("button", { name: "Invite", exact: true }).click();
  await host.locator("#user-dialog").waitFor({ state: "hidden" });
  await friend.locator(".invite", { hasText: "ada invites you to cellar" }).waitFor();
  await picture(friend, "invited");
  await friend.getByRole("button", { name: "Accept" }).click();
  await friend.locator("#room-name", { hasText: "cellar" }).waitFor();
  await message(friend, "down here").waitFor();
  await friend.locator(".invite").waitFor({ state: "detached" });
});

test("a server has categories and rooms of its own", async (t) => {
  const [owner, visitor] = [await open(t, "ada"), await open(t, "bob", { scheme: "dark" })];
  await owner.getByRole("button", { name: "Create a server" }).click();
  await owner.locator("#server-form-name").fill("Guild of weavers");
  await owner.getByRole("button", { name: "Create server", exact: true }).click();
  await owner.locator("#server-dialog").waitFor({ state: "hidden" });
  await owner.getByRole("button", { name: "Create a category" }).click();
  await owner.locator("#category-form-name").fill("Craft");
  await owner.getByRole("button", { name: "Create category", exact: true }).click();
  await owner.locator(".category", { hasText: "Craft" }).waitFor();
  for (const [name, category] of [
    ["welcome", ""],
    ["dyeing", "Craft"],
  ]) {
    await owner.getByRole("button", { name: "Create a room" }).click();
    await owner.locator("#room-form-name").fill(name);
    if (category) await owner.locator("#room-form-category").selectOption({ label: category });
    await owner.getByRole("button", { name: "Create", exact: true }).click();
    await owner.locator("#room-name", { hasText: name }).waitFor();
  }
  const listed = words(await owner.locator("#room-list li").allInnerTexts());
  assert.deepEqual(listed, ["# welcome", "Craft", "# dyeing"]);
  await picture(owner, "server-owner");

  await visitor.getByRole("button", { name: "Guild of weavers" }).click();
  await visitor.locator(".room", { hasText: "dyeing" }).click();
  await visitor.locator("#room-name", { hasText: "dyeing" }).waitFor();
  assert.ok(await visitor.locator("#new-room").isDisabled());
  await say(visitor, "indigo");
  await message(owner, "indigo").waitFor();
  await picture(visitor, "server-visitor");
  await visitor.reload();
  await message(visitor, "indigo").waitFor();
  await visitor.locator(".server[aria-pressed=true][aria-label='Guild of weavers']").waitFor();
  await visitor.getByRole("button", { name: "main" }).click();
  await visitor.locator(".room", { hasText: "engines" }).waitFor();
  assert.deepEqual([...owner.troubles, ...visitor.troubles], []);
});

function words(texts) {
  return texts.map((text) => text.replace(/\s+/g, " ").trim());
}

test("a reload is no leave and no join, and the status stays on all devices", async (t) => {
  const client = new Client(server, ada);
  t.after(() => client.close());
  const page = await open(t, "bob");
  await openRoom(page, "engines");
  const other = await open(t, "bob", { width: 900 });
  await page.getByRole("button", { name: /^Your status/ }).click();
  await page.getByRole("menuitemradio", { name: "Do not disturb" }).click();
  await other.locator("#me-dot[data-status=dnd]").waitFor({ state: "attached" });
  await other.context().close();
  const room = await client.join(`room:${rooms.engines.id}`);
  await until("bob to be seen", () => room.presence.list((id) => id).includes(bob.user.id));
  // What bob did before is in no later diff than ada's own join.
  const joinsAda = (entry) => entry.event === "presence_diff" && entry.payload.joins[ada.user.id];
  await until("ada's own join", () => room.log.some(joinsAda));
  const from = room.log.length;
  await page.reload();
  await page.locator("#connection[data-state=open]").waitFor();
  await page.locator("#composer-text:enabled").waitFor();
  await page.locator("#me-dot[data-status=dnd]").waitFor();
  await data(server, "POST", `/rooms/${rooms.engines.id}/messages`, { token: ada.token, body: { content: "after" } });
  await message(page, "after").waitFor();
  await event(room, "new_message", { from });
  const diffs = room.log.slice(from).filter((entry) => entry.event === "presence_diff");
  assert.deepEqual(
    diffs.filter(({ payload }) => payload.joins[bob.user.id] || payload.leaves[bob.user.id]),
    [],
  );
});

test("a new password signs the other devices out, and not this one", async (t) => {
  const [page, other] = [await open(t, "bob"), await open(t, "bob")];
  await page.getByRole("button", { name: "Change the password" }).click();
  await page.locator("#old-password").fill("wrong");
  await page.locator("#new-password").fill("battery staple");
  await page.getByRole("button", { name: "Change", exact: true }).click();
  await page.locator("#password-form-error", { hasText: "is wrong" }).waitFor();
  await picture(page, "password");
  await page.locator("#old-password").fill(PASSWORD);
  await page.getByRole("button", { name: "Change", exact: true }).click();
  await page.locator("#password-dialog").waitFor({ state: "hidden" });
  await other.locator("#auth-error", { hasText: "You have been signed out." }).waitFor();
  await page.locator("#connection[data-state=open]").waitFor();
  await openRoom(page, "engines");
  await say(page, "still here");
  await message(page, "still here").waitFor();
  await page.reload();
  await page.locator("#connection[data-state=open]").waitFor();
  await signIn(other, "bob", "battery staple");
});

async function changePassword(page, old, fresh) {
  await page.getByRole("button", { name: "Change the password" }).click();
  await page.locator("#old-password").fill(old);
  await page.locator("#new-password").fill(fresh);
  await page.getByRole("button", { name: "Change", exact: true }).click();
  await page.locator("#password-dialog").waitFor({ state: "hidden" });
}

test("a new password keeps its own page signed in, whichever of answer and socket end comes first", async (t) => {
  await register(server, "cy");
  const page = await openPage(browser, server.url);
  t.after(() => page.context().close());
  const late = [];
  await page.routeWebSocket(/\/socket\/websocket/, (socket) => {
    const upstream = socket.connectToServer();
    upstream.onMessage((text) => (String(text).includes('"revoked"') ? late.push(text) : socket.send(text)));
    upstream.onClose(() => {
      setTimeout(() => {
        for (const text of late.splice(0)) socket.send(text);
        socket.close();
      }, 1000);
    });
  });
  await page.reload();
  await signIn(page, "cy");
  await changePassword(page, PASSWORD, "battery staple");
  await until("the end of the socket came late", () => late.length > 0);
  await until("it was passed on", () => late.length === 0);
  await openRoom(page, "engines");
  await say(page, "the socket ended last");
  await message(page, "the socket ended last").waitFor();

  await page.route("**/auth/password", async (route) => {
    const response = await route.fetch();
    await page.waitForTimeout(2000);
    await route.fulfill({ response });
  });
  await changePassword(page, "battery staple", PASSWORD);
  await openRoom(page, "engines");
  await say(page, "the answer came last");
  await message(page, "the answer came last").waitFor();
});
