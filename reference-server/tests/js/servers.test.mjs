// The page goes from server to server, and back.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, openPage, signIn } from "./support/browser.mjs";
import { data, enter, register, startServer, until } from "./support/server.mjs";

let server;
let browser;
let owner;
let kim;

before(async () => {
  server = await startServer();
  [owner, kim] = [await register(server, "owner"), await register(server, "kim")];
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

/** Creates a server of one room, in which kim has a role of this colour. */
async function createServer(name, colour) {
  const { token } = owner;
  const { id } = await data(server, "POST", "/servers", { token, body: { name } });
  const room = await data(server, "POST", `/servers/${id}/rooms`, { token, body: { name: `${name} room` } });
  await enter(server, kim, room);
  const role = await data(server, "POST", `/servers/${id}/roles`, { token, body: { name: "painter", colour } });
  await data(server, "PUT", `/servers/${id}/members/${kim.user.id}/roles/${role.id}`, { token });
  return { id, name, room, colour };
}

async function open(t) {
  const page = await openPage(browser, server.url);
  t.after(() => page.context().close());
  await signIn(page, "owner");
  await page.locator(".room[aria-current]").waitFor({ state: "attached" });
  return page;
}

test("the rows of another list are drawn by it, although a member has the same revision there", async (t) => {
  const made = [await createServer("red", "#ff0000"), await createServer("blue", "#0000ff")];
  const page = await open(t);
  const name = page.locator("#members-rows .row.member:not([hidden]) .row-name", { hasText: "kim" });
  for (const { id, room, colour } of [...made, ...made]) {
    await page.locator(`.server[data-id="${id}"]`).click();
    await page.locator("#room-name", { hasText: room.name }).waitFor();
    await name.waitFor();
    const role = () => name.evaluate((element) => element.style.getPropertyValue("--role"));
    await until(`a name in ${colour}`, async () => (await role()) === colour);
  }
  assert.deepEqual(page.troubles, []);
});

test("Back returns to the room that was open on another server", async (t) => {
  const [one, two] = [await createServer("one", "#008000"), await createServer("two", "#008000")];
  const { token } = owner;
  const attic = await data(server, "POST", `/servers/${one.id}/rooms`, { token, body: { name: "attic" } });
  const page = await open(t);
  const shown = (room) => page.locator("#room-name", { hasText: room.name }).waitFor();
  await page.goto(`${server.url}/?room=${attic.id}`);
  await shown(attic);
  await page.locator(`.server[data-id="${two.id}"]`).click();
  await shown(two.room);
  await page.goBack();
  await shown(attic);
  await page.locator(`.server[data-id="${one.id}"][aria-pressed=true]`).waitFor();
  await page.goForward();
  await shown(two.room);
  assert.deepEqual(page.troubles, []);
});
