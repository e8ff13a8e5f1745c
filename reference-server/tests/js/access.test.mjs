// Accessibility: axe on every view, the keyboard, and the theme button.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { enterAsGuest, launch, message, openPage, say, settled, violations } from "./support/browser.mjs";
import { startServer } from "./support/server.mjs";

let server;
let browser;

before(async () => {
  server = await startServer({ args: ["--demo", "2000"] });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

for (const scheme of ["light", "dark"]) {
  test(`axe finds no violation, ${scheme}`, async () => {
    const page = await openPage(browser, server.url, { scheme });
    assert.deepEqual(await violations(page), [], "the entrance");
    await enterAsGuest(page, "city");
    await settled(page, "the members");
    await say(page, `Is ${scheme} readable? https://example.org`);
    await message(page, `Is ${scheme} readable?`).waitFor();
    assert.deepEqual(await violations(page), [], "a room");
    await page.getByRole("button", { name: "Jump to a place in the list" }).click();
    await page.getByRole("button", { name: /^Your status/ }).click();
    assert.deepEqual(await violations(page), [], "the menus");
    await page.context().close();
  });
}

test("the page works from entrance to message by keyboard alone", async () => {
  const page = await openPage(browser, server.url);
  await page.keyboard.press("Enter");
  await page.locator("#connection[data-state=open]").waitFor();
  await page.locator("#composer-text:focus").waitFor();
  await page.keyboard.type("typed, never clicked");
  await page.keyboard.press("Enter");
  await message(page, "typed, never clicked").waitFor();
  const stops = new Set();
  for (let i = 0; i < 25; i += 1) {
    await page.keyboard.press("Tab");
    stops.add(
      await page.evaluate(() => {
        const { activeElement: here } = document;
        const { outlineStyle, outlineWidth, borderColor } = getComputedStyle(here);
        if (here !== document.body && outlineStyle === "none" && outlineWidth === "0px" && !borderColor)
          return `no focus mark on #${here.id}`;
        return here.id || here.className;
      }),
    );
  }
  for (const id of ["members-scroll", "log", "theme", "sign-out", "me-status", "members-jump", "toggle-members"])
    assert.ok(stops.has(id), `Tab does not reach #${id}: ${[...stops]}`);
  assert.deepEqual(
    [...stops].filter((stop) => stop.startsWith("no focus mark")),
    [],
  );
  await page.context().close();
});

test("the theme button cycles, and the choice is stored", async () => {
  const page = await openPage(browser, server.url, { scheme: "light" });
  await enterAsGuest(page, "lobby");
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const system = await background();
  const button = page.locator("#theme");
  await button.click();
  assert.equal(await button.getAttribute("aria-label"), "Theme: light");
  assert.equal(await background(), system);
  await button.click();
  assert.equal(await button.getAttribute("aria-label"), "Theme: dark");
  const dark = await background();
  assert.notEqual(dark, system);
  await page.reload();
  assert.equal(await background(), dark);
  await page.context().close();
});
