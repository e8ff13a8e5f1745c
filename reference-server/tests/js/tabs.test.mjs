// Several tabs of one browser: each ends its own session only.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { enterAsGuest, launch, openPage, openRoom, picture, signIn } from "./support/browser.mjs";
import { data, enter, register, startServer } from "./support/server.mjs";

const PASSWORD = "correct horse battery";

let server;
let browser;
let owner;
let count = 0;

before(async () => {
  server = await startServer();
  owner = await register(server, "owner");
  await data(server, "POST", "/rooms", { token: owner.token, body: { name: "salon" } });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

/** Opens a tab in a browser of its own. Returns it, and a function that opens another one beside it. */
async function openTabs(t) {
  const first = await openPage(browser, server.url);
  const context = first.context();
  t.after(() => context.close());
  const beside = async () => {
    const page = await context.newPage();
    await page.goto(server.url);
    return page;
  };
  return [first, beside];
}

async function newName() {
  count += 1;
  const name = `user-${count}`;
  await register(server, name);
  return name;
}

function logIn(username) {
  return data(server, "POST", "/auth/login", { body: { username, password: PASSWORD } });
}

function isIn(page) {
  return page.locator("#connection[data-state=open]").waitFor();
}

async function staysIn(page, name) {
  await page.reload();
  await isIn(page);
  assert.equal(await page.locator("#me-name").innerText(), name);
}

/** Changes the password, and waits until the page has the new token. */
async function changePassword(page, fresh) {
  await page.getByRole("button", { name: "Change the password" }).click();
  await page.locator("#old-password").fill(PASSWORD);
  await page.locator("#new-password").fill(fresh);
  await page.getByRole("button", { name: "Change", exact: true }).click();
  await page.locator("#password-dialog").waitFor({ state: "hidden" });
}

/** Lets a tab hear only after `wait()` whether its token is good. */
function slowDown(page, wait) {
  return page.route("**/auth/me", async (route) => {
    const response = await route.fetch();
    await wait();
    await route.fulfill({ response });
  });
}

test("a guest that comes and goes in one tab leaves the account of the other tab signed in", async (t) => {
  const [account, beside] = await openTabs(t);
  const guest = await beside();
  const name = await newName();
  await signIn(account, name);
  await enterAsGuest(guest, "salon");
  await staysIn(account, name);
  await guest.locator("#sign-out").click();
  await guest.locator("#welcome").waitFor();
  await staysIn(account, name);
});

test("a new password keeps all tabs of its browser signed in, however late they hear of it", async (t) => {
  for (const [i, late] of [0, 400].entries()) {
    const [tab, beside] = await openTabs(t);
    const name = await newName();
    await signIn(tab, name);
    const other = await beside();
    await isIn(other);
    const checked = other.waitForResponse("**/auth/me");
    await slowDown(other, () => other.waitForTimeout(late));
    await changePassword(tab, `battery staple ${i}`);
    await checked;
    await isIn(other);
    await other.locator("#composer-text:enabled").waitFor();
    await staysIn(tab, name);
    await staysIn(other, name);
    if (late) await picture(other, "tab-renewed");
  }
});

test("a new password whose answer is late keeps the other tab signed in too", async (t) => {
  const [tab, beside] = await openTabs(t);
  const name = await newName();
  await signIn(tab, name);
  const other = await beside();
  await isIn(other);
  const checked = other.waitForResponse("**/auth/me");
  await tab.route("**/auth/password", async (route) => {
    const response = await route.fetch();
    await checked;
    await tab.waitForTimeout(300);
    await route.fulfill({ response });
  });
  await changePassword(tab, "battery staple");
  await tab.waitForTimeout(500);
  await isIn(other);
  await staysIn(other, name);
  await staysIn(tab, name);
});

test("a sign-out ends all tabs of its browser, and a late one leaves the next user signed in", async (t) => {
  const [tab, beside] = await openTabs(t);
  const [name, next] = [await newName(), await newName()];
  await signIn(tab, name);
  const other = await beside();
  await isIn(other);
  let answer;
  const signedIn = new Promise((done) => (answer = done));
  await slowDown(other, () => signedIn);
  await tab.locator("#sign-out").click();
  await tab.locator("#welcome").waitFor();
  await signIn(tab, next);
  answer();
  await other.locator("#auth-error", { hasText: "You have been signed out." }).waitFor();
  await staysIn(tab, next);
});

test("the next user of a tab sees nothing of the lists of the one before", async (t) => {
  const [page] = await openTabs(t);
  const [name, next] = [await newName(), await newName()];
  const [first, second] = await Promise.all([name, next].map((username) => logIn(username)));
  const salon = (await data(server, "GET", "/rooms", { token: first.token })).find(({ name: of }) => of === "salon");
  for (const user of [first, second]) await enter(server, user, salon);
  const body = { content: "between us" };
  const dm = await data(server, "POST", "/dm", { token: owner.token, body: { user_id: first.user.id } });
  await data(server, "POST", `/dm/${dm.id}/messages`, { token: owner.token, body });
  await data(server, "POST", `/rooms/${salon.id}/messages`, { token: owner.token, body });
  await signIn(page, name);
  await page.locator(".dm-last", { hasText: "between us" }).waitFor();
  await openRoom(page, "salon");
  await page.locator(".room", { hasText: "salon" }).locator(".badge").waitFor({ state: "detached" });
  await openRoom(page, "lobby");
  await page.locator("#sign-out").click();
  await page.locator("#welcome").waitFor();
  let answer;
  const answered = new Promise((done) => (answer = done));
  await page.route("**/api/v1/dm", async (route) => {
    await answered;
    await route.continue();
  });
  await signIn(page, next);
  await page.locator(".room", { hasText: "salon" }).locator(".badge", { hasText: /^1$/ }).waitFor();
  assert.equal(await page.locator(".dm").count(), 0);
  answer();
});
