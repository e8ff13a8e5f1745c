// Roles on the page: the owner makes, gives and takes them; two users with different roles see different rooms.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, openPage, openRoom, picture, sidebar, signIn, violations } from "./support/browser.mjs";
import { data, register, startServer, until } from "./support/server.mjs";

let server;
let browser;

before(async () => {
  server = await startServer();
  for (const name of ["ada", "bob", "cyd"]) await register(server, name);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

async function open(t, name, options) {
  const page = await openPage(browser, server.url, options);
  t.after(() => page.context().close());
  await signIn(page, name);
  return page;
}

async function createServer(page, name, rooms) {
  await page.getByRole("button", { name: "Create a server" }).click();
  await page.locator("#server-form-name").fill(name);
  await page.getByRole("button", { name: "Create server", exact: true }).click();
  await page.locator("#server-dialog").waitFor({ state: "hidden" });
  for (const room of rooms) {
    await page.getByRole("button", { name: "Create a room" }).click();
    await page.locator("#room-form-name").fill(room);
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await page.locator("#room-name", { hasText: room }).waitFor();
  }
}

async function createRole(page, { name, colour, hoisted }) {
  await page.getByLabel("Name of the role").fill(name);
  if (colour) await page.getByLabel("Colour of the role").fill(colour);
  if (hoisted) await page.getByLabel("A group of its own in member lists").check();
  await page.getByRole("button", { name: "Create role" }).click();
  await page.locator(".role", { hasText: name }).waitFor();
}

// Checks or unchecks the boxes of a user's roles, and waits for the answers.
async function setRoles(page, user, roles) {
  await page.locator("#holder-form-name").fill(user);
  await page.getByRole("button", { name: "Show roles" }).click();
  await page.getByRole("group", { name: `Roles of ${user}` }).waitFor();
  for (const [role, isGiven] of Object.entries(roles)) {
    const answered = page.waitForResponse((response) => /\/members\/.*\/roles\//.test(response.url()));
    await page.locator("#holder-roles").getByLabel(role).setChecked(isGiven);
    assert.equal((await answered).status(), 200);
  }
}

async function listed(page) {
  return (await page.locator("#room-list .room-label").allInnerTexts()).sort();
}

// Waits until the member list shows these rows.
async function shows(page, rows, what) {
  let names = [];
  const isShown = async () => {
    names = (await sidebar(page)).rows.map(({ name }) => name);
    return JSON.stringify(names) === JSON.stringify(rows);
  };
  await until(what, isShown).catch((error) => assert.deepEqual(names, rows, error.message));
}

test("two users with different roles see different rooms, and groups of their roles", async (t) => {
  const owner = await open(t, "ada");
  await createServer(owner, "Guild of weavers", ["hall", "bridge"]);
  await owner.getByRole("button", { name: "Roles of the server" }).click();
  await createRole(owner, { name: "Mates", colour: "#1d8a4e", hoisted: true });
  await createRole(owner, { name: "Crew", colour: "#c2410c", hoisted: true });
  await createRole(owner, { name: "Early bird" });
  await owner.getByRole("button", { name: "Move Crew up" }).click();
  await until("Crew to be the first", async () => {
    const names = await owner.locator(".role-name").allInnerTexts();
    return names.join() === "Crew,Mates,Early bird";
  });
  await owner.getByRole("button", { name: "Change Early bird" }).click();
  await owner.getByLabel("Name of the role").fill("mates");
  await owner.getByRole("button", { name: "Save" }).click();
  await owner.locator("#roles-error", { hasText: "already been taken" }).waitFor();
  await owner.getByRole("button", { name: "Do not change" }).click();
  await owner.getByRole("button", { name: "Delete Early bird" }).click();
  await owner.locator(".role").getByRole("button", { name: "Delete", exact: true }).click();
  await until("two roles", async () => (await owner.locator(".role").count()) === 2);
  await setRoles(owner, "cyd", { Mates: true });
  await setRoles(owner, "bob", { Crew: true });
  assert.deepEqual(await violations(owner), [], "the dialog of roles");
  await picture(owner, "roles-dialog");
  await owner.getByRole("button", { name: "Done" }).click();

  await owner.getByRole("button", { name: "Limit the room to roles" }).click();
  await owner.locator("#limit-dialog").getByLabel("Crew").check();
  assert.deepEqual(await violations(owner), [], "the dialog of a room");
  await owner.getByRole("button", { name: "Save" }).click();
  const locked = ".room:has(svg)";
  await owner.locator(locked, { hasText: "bridge" }).waitFor();

  const [crew, mate] = [await open(t, "bob"), await open(t, "cyd", { scheme: "dark" })];
  for (const page of [crew, mate]) await page.getByRole("button", { name: "Guild of weavers" }).click();
  await mate.locator(".room", { hasText: "hall" }).waitFor();
  await openRoom(mate, "hall");
  assert.deepEqual(await listed(mate), ["hall"]);
  await crew.locator(locked, { hasText: "bridge" }).waitFor();
  assert.deepEqual(await listed(crew), ["bridge", "hall"]);
  await openRoom(crew, "bridge");
  const inBridge = ["Crew — 1", "bob", "Online — 1", "ada"];
  for (const page of [crew, owner]) await shows(page, inBridge, "the members of bridge");
  // Rows that are hidden keep what they showed, until they show another member.
  const colour = (page, name) =>
    page
      .locator("#members-rows .row:not([hidden]) .row-name", { hasText: name })
      .evaluate((node) => getComputedStyle(node).color);
  assert.notEqual(await colour(crew, "bob"), await colour(crew, "ada"), "the name has the colour of the role");
  await picture(crew, "roles-limited-room");

  await openRoom(owner, "hall");
  await shows(owner, ["Mates — 1", "cyd", "Online — 1", "ada", "Offline — 1", "bob"], "the members of hall");
  await shows(mate, ["Mates — 1", "cyd", "Online — 1", "ada", "Offline — 1", "bob"], "the members of hall");
  await picture(mate, "roles-open-room");

  await owner.getByRole("button", { name: "Roles of the server" }).click();
  await setRoles(owner, "cyd", { Crew: true });
  await mate.locator(locked, { hasText: "bridge" }).waitFor();
  await shows(mate, ["Crew — 1", "cyd", "Online — 1", "ada", "Offline — 1", "bob"], "cyd to be in the crew");
  await setRoles(owner, "bob", { Crew: false });
  await crew.locator("#banner", { hasText: "not a member of this room any more" }).waitFor();
  await until("the room to go", async () => (await listed(crew)).join() === "hall");
  await owner.getByRole("button", { name: "Done" }).click();
  await openRoom(owner, "bridge");
  await shows(owner, ["Crew — 1", "cyd", "Online — 1", "ada"], "bob is gone, and cyd is listed, who never was there");

  await openRoom(owner, "hall");
  await owner.getByRole("button", { name: "Limit the room to roles" }).click();
  await owner.locator("#limit-dialog").getByLabel("Mates").check();
  await owner.getByRole("button", { name: "Save" }).click();
  await mate.locator(locked, { hasText: "hall" }).waitFor();
  await until("the other room to go", async () => (await listed(crew)).length === 0);
  assert.deepEqual(mate.troubles, []);
});

test("open pages of the members of a private room show its limit, and the end of that", async (t) => {
  const [{ token }, eve] = [await register(server, "dan"), await register(server, "eve")];
  const guild = await data(server, "POST", "/servers", { token, body: { name: "Vaults" } });
  const at = `/servers/${guild.id}`;
  const role = await data(server, "POST", `${at}/roles`, { token, body: { name: "Keys" } });
  await data(server, "PUT", `${at}/members/${eve.user.id}/roles/${role.id}`, { token, body: {} });
  const vault = await data(server, "POST", `${at}/rooms`, { token, body: { name: "vault", private: true } });
  await data(server, "POST", `/rooms/${vault.id}/invites`, { token, body: { user_id: eve.user.id } });
  await data(server, "POST", `/invites/${vault.id}/accept`, { token: eve.token });
  const page = await open(t, "eve");
  await page.getByRole("button", { name: "Vaults" }).click();
  const room = page.locator(".room", { hasText: "vault" });
  await room.waitFor();
  for (const [roles, count] of [[[role.id], 1], [[], 0]]) {
    await data(server, "PUT", `/rooms/${vault.id}/roles`, { token, body: { role_ids: roles } });
    const limited = room.getByText("limited to roles");
    await until(`${count} rooms that are limited`, async () => (await limited.count()) === count);
  }
  assert.deepEqual(page.troubles, []);
});

test("a room that is limited goes from the lists of users who never entered it, and does not come back", async (t) => {
  const [{ token }, fay] = [await register(server, "gus"), await register(server, "fay")];
  const guild = await data(server, "POST", "/servers", { token, body: { name: "Attics" } });
  const at = `/servers/${guild.id}`;
  const role = await data(server, "POST", `${at}/roles`, { token, body: { name: "Ladders" } });
  const [, loft] = [
    await data(server, "POST", `${at}/rooms`, { token, body: { name: "yard" } }),
    await data(server, "POST", `${at}/rooms`, { token, body: { name: "loft" } }),
  ];
  const page = await openPage(browser, server.url);
  t.after(() => page.context().close());
  let socket;
  await page.routeWebSocket(/\/socket\/websocket/, (opened) => {
    socket = opened;
    opened.connectToServer();
  });
  await page.reload();
  await signIn(page, "fay");
  await page.getByRole("button", { name: "Attics" }).click();
  await until("both rooms", async () => (await listed(page)).join() === "loft,yard");
  // The list that is on its way was read before.
  let answer;
  const answered = new Promise((done) => (answer = done));
  const asked = page.waitForRequest(`**${at}/rooms*`);
  await page.route(`**${at}/rooms*`, async (route) => {
    const response = await route.fetch();
    await answered;
    await route.fulfill({ response });
  });
  await page.getByRole("button", { name: "Attics" }).click();
  await asked;
  await data(server, "PUT", `/rooms/${loft.id}/roles`, { token, body: { role_ids: [role.id] } });
  socket.send(JSON.stringify([null, null, `user:${fay.user.id}`, "room_removed", { id: loft.id }]));
  await until("the room to go", async () => (await listed(page)).join() === "yard");
  const taken = page.waitForResponse(`**${at}/rooms*`);
  answer();
  await taken;
  await page.waitForTimeout(200);
  assert.deepEqual(await listed(page), ["yard"]);
  assert.equal(await page.locator("#room-name").innerText(), "yard");
  assert.deepEqual(page.troubles, []);
});
