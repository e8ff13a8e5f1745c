// Messages that are edited and deleted while the page is not connected, or while its user edits them.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, message, openPage, openRoom, picture, say, signIn } from "./support/browser.mjs";
import { Proxy } from "./support/proxy.mjs";
import { data, enter, register, startServer, until } from "./support/server.mjs";

let server;
let browser;
let proxy;
let ada;
let salon;

before(async () => {
  server = await startServer();
  proxy = await new Proxy(server).listen();
  ada = await register(server, "ada");
  salon = await data(server, "POST", "/rooms", { token: ada.token, body: { name: "salon" } });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  proxy?.close();
  await server?.end();
});

function post({ token }, room, content) {
  return data(server, "POST", `/rooms/${room.id}/messages`, { token, body: { content } });
}

function edit({ token }, { id }, content) {
  return data(server, "PATCH", `/messages/${id}`, { token, body: { content } });
}

function remove({ token }, { id }) {
  return data(server, "DELETE", `/messages/${id}`, { token });
}

async function open(t, name, url = server.url, options = {}) {
  const page = await openPage(browser, url, options);
  t.after(() => page.context().close());
  await signIn(page, name);
  return page;
}

/** Fills a room with messages of several authors, each of whom may send only ten in five seconds. */
async function fill(room, authors) {
  const posted = [];
  for (let a = 0; a < authors; a += 1) {
    const author = await register(server, `author-${a}`);
    await enter(server, author, room);
    for (let i = 0; i < 8; i += 1) {
      const content = `line ${posted.length} of the room`;
      posted.push({ ...(await post(author, room, content)), author });
    }
  }
  return posted;
}

function scrollToTop(page) {
  return page.evaluate(() => {
    document.getElementById("log").scrollTop = 0;
  });
}

test("what was edited and deleted while the connection was lost is shown, however old it is", async (t) => {
  const room = await data(server, "POST", "/rooms", { token: ada.token, body: { name: "archive" } });
  const lines = await fill(room, 21);
  await register(server, "reader");
  const page = await open(t, "reader", proxy.url);
  await openRoom(page, "archive");
  await until("the first message", async () => {
    await scrollToTop(page);
    return (await message(page, "line 1 of the room").count()) > 0;
  });
  proxy.mode = "refuse";
  proxy.cut();
  await page.locator("#connection[data-state=reconnecting]").waitFor({ state: "attached" });
  for (const i of [1, 60, 164]) await remove(lines[i].author, lines[i]);
  for (const i of [2, 110]) await edit(lines[i].author, lines[i], `line ${i}, once more`);
  await post(ada, room, "said meanwhile");
  const held = page.locator(".message:not(.pending)");
  const before = await held.count();
  proxy.mode = "pass";
  await message(page, "said meanwhile").waitFor({ state: "attached" });
  for (const i of [2, 110]) await message(page, `line ${i}, once more`).waitFor({ state: "attached" });
  await until("three messages to go", async () => (await message(page, "Message deleted").count()) === 3);
  for (const i of [1, 2, 60, 110, 164]) assert.equal(await message(page, `line ${i} of the room`).count(), 0);
  assert.equal(await held.count(), before + 1);
  assert.equal(await page.locator(".gap:not([hidden])").count(), 0);
  await picture(page, "changed-meanwhile");
});

/** Begins to edit a message. Returns it, and the box. */
async function beginEdit(page, text, draft) {
  await message(page, text).hover();
  const id = await message(page, text).getAttribute("data-id");
  await message(page, text).getByRole("button", { name: "Edit message" }).click();
  const box = page.getByRole("textbox", { name: "Edit message" });
  await box.fill(draft);
  return { node: page.locator(`.message[data-id="${id}"]`), id, box };
}

test("an edit goes on when the message is edited elsewhere, and says so", async (t) => {
  const page = await open(t, "ada");
  await openRoom(page, "salon");
  await say(page, "a first draft");
  const { node, id, box } = await beginEdit(page, "a first draft", "my long edit");
  await box.evaluate((element) => element.setSelectionRange(3, 7));
  await edit(ada, { id }, "changed elsewhere");
  await node.locator(".message-note", { hasText: "changed meanwhile" }).waitFor();
  assert.equal(await box.inputValue(), "my long edit");
  const place = await box.evaluate((element) => [
    element === document.activeElement,
    element.selectionStart,
    element.selectionEnd,
  ]);
  assert.deepEqual(place, [true, 3, 7]);
  assert.equal(await node.locator(".message-body").isVisible(), false);
  await picture(page, "edit-changed");
  await box.press("Escape");
  await node.locator(".message-body", { hasText: "changed elsewhere (edited)" }).waitFor();
  assert.equal(await node.locator(".message-note").isVisible(), false);

  const again = await beginEdit(page, "changed elsewhere", "mine");
  await edit(ada, { id }, "changed once more");
  await again.node.locator(".message-note", { hasText: "changed meanwhile" }).waitFor();
  await node.getByRole("button", { name: "Leave it as it is now" }).click();
  await node.locator(".message-body", { hasText: "changed once more (edited)" }).waitFor();
  const last = await beginEdit(page, "changed once more", "mine");
  await last.box.press("Enter");
  await node.locator(".message-body", { hasText: "mine" }).waitFor();
  assert.equal(await last.box.count(), 0);
  assert.equal(await node.locator(".message-note").isVisible(), false);
  assert.deepEqual(page.troubles, []);
});

test("an edit goes on when the message is deleted elsewhere, and keeps its text", async (t) => {
  const page = await open(t, "ada", server.url, { width: 390, height: 780, scheme: "dark" });
  await page.getByRole("button", { name: "Show the room list" }).click();
  await openRoom(page, "salon");
  await say(page, "soon gone");
  const { node, id, box } = await beginEdit(page, "soon gone", "not to be lost");
  await remove(ada, { id });
  await node.locator(".message-note", { hasText: "deleted meanwhile" }).waitFor();
  await picture(page, "edit-deleted");
  await box.press("Enter");
  await node.locator(".message-note", { hasText: "Not saved." }).waitFor();
  assert.equal(await box.inputValue(), "not to be lost");
  await edit(ada, await post(ada, salon, "said meanwhile"), "said, and changed meanwhile");
  await message(page, "said, and changed meanwhile").waitFor();
  assert.equal(await box.inputValue(), "not to be lost");
  await box.press("Escape");
  await node.locator(".gone").waitFor();
  await node.hover();
  assert.equal(await node.locator(".message-tools").count(), 0);
});
