// The description of the API, and the page that shows it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, openPage, picture } from "./support/browser.mjs";
import { startServer } from "./support/server.mjs";

let server;
let browser;

before(async () => {
  server = await startServer();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

test("the page shows every route with what it takes and answers", async (t) => {
  const page = await openPage(browser, `${server.url}/api-docs/`);
  t.after(() => page.context().close());
  await page.locator("details").first().waitFor();
  const api = await (await fetch(`${server.url}/api/v1/openapi.json`)).json();
  const routes = Object.values(api.paths).flatMap((item) => Object.keys(item));
  assert.equal(await page.locator("details").count(), routes.length);
  const route = page.locator("details", { has: page.getByText("/rooms/{id}/messages", { exact: true }) });
  const posting = route.filter({ has: page.getByText("POST", { exact: true }) });
  await posting.locator("summary").click();
  await posting.getByText('"client_id"?').first().waitFor();
  await picture(page, "api-docs");
  assert.deepEqual(page.troubles, []);
});

test("nothing of the page is wider than a small phone", async (t) => {
  const page = await openPage(browser, `${server.url}/api-docs/`, { width: 320, height: 640 });
  t.after(() => page.context().close());
  await page.locator("details").first().waitFor();
  const width = () => page.evaluate(() => document.scrollingElement.scrollWidth);
  assert.equal(await width(), 320);
  await picture(page, "api-docs-phone");
  await page.evaluate(() => document.querySelectorAll("details").forEach((entry) => (entry.open = true)));
  assert.equal(await width(), 320);
});
