// The page goes from server to server, and back.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, openPage, picture, signIn } from "./support/browser.mjs";
import { Client, data, enter, register, startServer, until } from "./support/server.mjs";

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

async function open(t, options) {
  const page = await openPage(browser, server.url, options);
  t.after(() => page.context().close());
  await signIn(page, "owner");
  await page.locator(".room[aria-current]").waitFor({ state: "attached" });
  return page;
}

/** Lets a member be online until the test ends. */
async function arrive(t, member, room) {
  const client = new Client(server, member);
  t.after(() => client.close());
  await client.join(`room:${room.id}`);
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

/** Returns the least contrast of each name with the backgrounds of rows: at rest, under the pointer, active. */
function contrasts(page) {
  return page.evaluate(() => {
    const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
    const look = getComputedStyle(document.documentElement);
    const over = (...layers) => {
      for (const layer of layers) {
        context.fillStyle = layer;
        context.fillRect(0, 0, 1, 1);
      }
      const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data].map((byte) => {
        const part = byte / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const side = look.getPropertyValue("--bg-side");
    const grounds = ["--bg-side", "--bg-hover", "--bg-active"];
    const backgrounds = grounds.map((name) => over(side, look.getPropertyValue(name)));
    return [...document.querySelectorAll("#members-rows .row.member:not([hidden]) .row-name.coloured")].map((name) => {
      const text = over(getComputedStyle(name).color);
      const ratios = backgrounds.map((ground) => (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05));
      return [name.textContent, name.closest(".row").dataset.status, Math.min(...ratios)];
    });
  });
}

test("names in the colours of roles can be read, whatever these are", async (t) => {
  const { token } = owner;
  const { id } = await data(server, "POST", "/servers", { token, body: { name: "palette" } });
  const room = await data(server, "POST", `/servers/${id}/rooms`, { token, body: { name: "palette room" } });
  const colours = ["#ffffff", "#ffff00", "#00ff00", "#000000", "#000080", "#800000", "#0000ff", "#ff0000"];
  for (const colour of colours) {
    const member = await register(server, `n${colour.slice(1)}`);
    await enter(server, member, room);
    const role = await data(server, "POST", `/servers/${id}/roles`, { token, body: { name: colour, colour } });
    await data(server, "PUT", `/servers/${id}/members/${member.user.id}/roles/${role.id}`, { token });
    if (colours.indexOf(colour) % 2 === 0) await arrive(t, member, room);
  }
  for (const scheme of ["light", "dark"]) {
    const page = await open(t, { scheme });
    await page.goto(`${server.url}/?room=${room.id}`);
    const named = () => page.locator("#members-rows .row.member:not([hidden]) .row-name.coloured").count();
    await until("all names", async () => (await named()) === colours.length);
    await picture(page, `role-colours-${scheme}`);
    for (const [name, status, ratio] of await contrasts(page)) {
      assert.ok(ratio >= 4.5, `${name}, ${status}, ${scheme}: ${ratio}`);
    }
  }
});
