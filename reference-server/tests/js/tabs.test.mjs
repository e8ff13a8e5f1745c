// Several tabs of one browser: each ends its own session only.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { enterAsGuest, launch, openPage, picture, signIn } from "./support/browser.mjs";
import { data, register, startServer } from "./support/server.mjs";

const PASSWORD = "correct horse battery";

let server;
let browser;
let count = 0;

before(async () => {
  server = await startServer();
  const owner = await register(server, "owner");
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
