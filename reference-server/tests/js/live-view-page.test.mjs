// The LiveView hook in a browser: what it draws is read and reached by everybody.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { launch, openPage, violations } from "./support/browser.mjs";

const PACKAGE = new URL("../../web/headcount/", import.meta.url);
const MEMBERS = 40;

/** The part of LiveView that the hook needs, over a server of one list; a search finds all of it. */
const SCRIPT = `
  import { MemberListHook } from "/headcount/live-view.mjs";
  import { checksum } from "/headcount/index.mjs";
  const member = (_, id) => ({ id: String(id), revision: 1, body: { name: "n" + id } });
  const members = Array.from({ length: ${MEMBERS} }, member);
  const rows = [{ group: "online", count: ${MEMBERS} }, ...members];
  const windows = [];
  const bundle = (window) => {
    windows.push(window);
    const frame = { window, kind: "sync", base_version: 0, new_version: 1, base_index: 0, checksum32: checksum(rows) };
    const groups = [{ group: "online", count: ${MEMBERS} }];
    const version = windows.length;
    const counts = { version, rows: rows.length, members: ${MEMBERS}, groups };
    return { list: "L", epoch: 1, version, frames: [{ ...frame, rows }], counts, windows };
  };
  const el = document.getElementById("members");
  const pushEventTo = (_, verb, { window = "q:6e:0" }, answer) =>
    setTimeout(() => answer(/open|search/.test(verb) ? bundle(window) : {}));
  const hook = { el, pushEventTo, pushEvent() {}, handleEvent() {}, __proto__: MemberListHook };
  hook.mounted();`;

let site;
let browser;

before(async () => {
  site = createServer(({ url }, response) => {
    const { pathname, searchParams } = new URL(url, "http://site");
    const isPage = pathname === "/";
    if (!isPage && !pathname.startsWith("/headcount/")) return response.writeHead(204).end();
    response.setHeader("content-type", isPage ? "text/html" : "text/javascript");
    const attributes = searchParams.get("attributes") ?? "";
    const body = `<main><h1>Members</h1>
      <div id="members" data-list="L" style="height: 400px; overflow-y: auto" ${attributes}></div></main>
      <script type="module">${SCRIPT}</script>`;
    const page = `<!doctype html><html lang="en"><title>A LiveView</title>${body}`;
    return response.end(isPage ? page : readFileSync(new URL(pathname.slice("/headcount/".length), PACKAGE)));
  });
  await new Promise((listening) => site.listen(0, "127.0.0.1", listening));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  site?.closeAllConnections();
  site?.close();
});

for (const [attributes, row] of [
  ["", "listitem"],
  [`role="listbox" aria-label="Members"`, "option"],
  [`data-search="n"`, "listitem"],
  [`data-search="n" role="listbox" aria-label="Members"`, "option"],
]) {
  test(`an element ${attributes || "as in the manual"} is read and reached`, async () => {
    const address = `http://127.0.0.1:${site.address().port}/`;
    const page = await openPage(browser, `${address}?attributes=${encodeURIComponent(attributes)}`);
    await page.locator(`[role=${row}][data-kind=member]`).first().waitFor();
    if (attributes.includes("search")) await page.locator("[data-found] [data-kind=member]").first().waitFor();
    assert.deepEqual(await violations(page), []);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.id), "members");
    await page.keyboard.press("End");
    await page.locator(`[role=${row}].active`).waitFor({ state: "attached" });
    assert.deepEqual(page.troubles, []);
    await page.context().close();
  });
}
