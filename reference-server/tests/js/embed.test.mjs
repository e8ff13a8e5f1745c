// A page of another origin that embeds the chat by script.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { launch, openPage, picture } from "./support/browser.mjs";
import { Client, event, guest, startServer, data, until } from "./support/server.mjs";

let server;
let site;
let browser;
let address;
let client;

before(async () => {
  server = await startServer();
  // The path is what else the page has in its head; the query is a target.
  site = createServer(({ url }, response) => {
    const { pathname, searchParams } = new URL(url, "http://site");
    const target = searchParams.has("target") ? `data-target="${searchParams.get("target")}"` : "";
    response.setHeader("content-type", "text/html");
    response.end(
      `<!doctype html><title>elsewhere</title>${decodeURIComponent(pathname.slice(1))}<h1>Elsewhere</h1>
       <script src="${server.url}/embed.js" data-room="lobby" data-label="Talk" ${target} async></script>`,
    );
  });
  await new Promise((listening) => site.listen(0, "127.0.0.1", listening));
  address = `http://localhost:${site.address().port}/`;
  browser = await launch();
});

after(async () => {
  client?.close();
  await browser?.close();
  site?.closeAllConnections();
  site?.close();
  await server?.end();
});

test("a foreign page opens the chat in its corner, and messages are sent from there", async () => {
  const insider = await guest(server);
  const rooms = await data(server, "GET", "/rooms", { token: insider.token });
  client = new Client(server, insider);
  const lobby = await client.join(`room:${rooms.find(({ name }) => name === "lobby").id}`);
  const page = await openPage(browser, address);
  assert.notEqual(new URL(address).host, new URL(server.url).host);
  await page.getByRole("button", { name: "Talk" }).click();
  const chat = page.frameLocator("iframe");
  await chat.getByRole("button", { name: "Continue as a guest" }).click();
  await chat.locator("#room-name", { hasText: "lobby" }).waitFor();
  await chat.locator("#composer-text").fill("greetings from elsewhere");
  await chat.locator("#composer-text").press("Enter");
  await event(lobby, "new_message", { where: ({ content }) => content === "greetings from elsewhere" });
  await lobby.push("new_message", { content: "welcome in" });
  await chat.locator(".message", { hasText: "welcome in" }).waitFor();
  await picture(page, "embedded");
  // The browser requests an icon, which the foreign page does not have.
  assert.deepEqual(
    page.troubles.filter((text) => !text.includes("favicon")),
    [],
  );
});

test("the closed chat covers nothing, also on a page that shows all frames as blocks", async () => {
  const page = await openPage(browser, `${address}${encodeURIComponent("<style>iframe{display:block}</style>")}`);
  const button = page.getByRole("button", { name: "Talk" });
  await button.waitFor();
  const frame = page.locator("iframe");
  assert.equal(await frame.isVisible(), false);
  await button.click();
  assert.equal(await frame.isVisible(), true);
  await button.click();
  assert.equal(await frame.isVisible(), false);
  assert.equal(await button.getAttribute("aria-expanded"), "false");
});

test("a target that is no selector, or matches nothing, is warned of", async () => {
  for (const target of ["#1x", "#nowhere"]) {
    const page = await openPage(browser, `${address}?target=${encodeURIComponent(target)}`);
    const warning = `nothing on this page matches ${target}`;
    await until("the warning", () => page.troubles.some((text) => text.includes(warning)));
    assert.deepEqual(page.troubles.filter((text) => !/favicon|nothing on this page/.test(text)), []);
  }
});

test("the sample site embeds the chat twice", async () => {
  const page = await openPage(browser, `${server.url}/sample-site/`);
  await page.frameLocator("iframe.chat").getByRole("button", { name: "Continue as a guest" }).waitFor();
  await page.getByRole("button", { name: "Talk to us" }).click();
  await page.frameLocator("iframe[title='Talk to us']").getByRole("button", { name: "Continue as a guest" }).waitFor();
  await picture(page, "sample-site");
  assert.deepEqual(page.troubles, []);
});
