// The npm package `headcount`: packed, installed in a project without a network, and used there as its README says.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import WebSocket from "ws";
import { openDocument } from "./support/dom.mjs";
import { LiveView } from "./support/live-view.mjs";
import { PACKAGE, Project, run } from "./support/package.mjs";
import { Client, data, guest, startServer, until } from "./support/server.mjs";

const ENTRIES = ["headcount", "headcount/react", "headcount/live-view"];
const LINKED = ["react", "react-dom", "phoenix", "phoenix_live_view"];
const TYPES = ["@types/react", "@types/phoenix", "@types/node", "csstype", "undici-types"];
const STRICT = ["--strict", "--target", "es2022", "--module", "nodenext", "--jsx", "react-jsx"];

let server;
let room;
let project;

before(async () => {
  openDocument();
  server = await startServer({ args: ["--demo", "3000"] });
  const rooms = await data(server, "GET", "/rooms", { token: (await guest(server)).token });
  room = rooms.find(({ name }) => name === "city");
  project = new Project([...LINKED, ...TYPES]);
});

after(async () => {
  project?.end();
  await server?.end();
});

/** Returns the code blocks of the README in a language. */
function examples(language) {
  const readme = readFileSync(join(PACKAGE, "README.md"), "utf8");
  const blocks = [...readme.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, name]) => name === language);
  return blocks.map(([, , code]) => code);
}

/** Returns the one example that contains a text. */
function example(language, text) {
  const found = examples(language).filter((code) => code.includes(text));
  assert.equal(found.length, 1, `${found.length} examples with ${text}`);
  return found[0];
}

test("the package has the files of the page, types, documents and licences, and no dependencies", () => {
  const files = project.packed.files.map((file) => file.path).sort();
  const modules = ["channel", "client", "groups", "index", "list-search", "list-session", "list-store", "live-view"];
  modules.push("react", "row-pool", "scroll-map", "status", "viewer-share", "virtual-list", "window-keeper");
  const types = ["index", "live-view", "react"].map((name) => `${name}.d.mts`);
  const documents = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json"];
  assert.deepEqual(files, [...modules.map((name) => `${name}.mjs`), ...types, ...documents].sort());
  const manifest = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
  assert.equal(manifest.dependencies, undefined);
  for (const name of modules) {
    const installed = readFileSync(join(project.folder, "node_modules/headcount", `${name}.mjs`), "utf8");
    assert.equal(installed, readFileSync(join(PACKAGE, `${name}.mjs`), "utf8"), name);
  }
});

test("the server serves these files to its page", async () => {
  const page = await (await fetch(`${server.url}/members/members.mjs`)).text();
  assert.match(page, /from "..\/headcount\/index.mjs"/);
  const served = await fetch(`${server.url}/headcount/virtual-list.mjs`);
  assert.equal(served.headers.get("content-type"), "text/javascript; charset=utf-8");
  assert.equal(await served.text(), readFileSync(join(PACKAGE, "virtual-list.mjs"), "utf8"));
});

test("the types declare exactly what the modules export", async () => {
  for (const entry of ENTRIES) {
    const names = Object.keys(await project.load(entry));
    assert.ok(names.length > 0);
    const all = names.map((name) => `${name}: true`).join(", ");
    const code = `export const all: Record<keyof typeof entry, true> = { ${all} };\n`;
    project.write(`names-${ENTRIES.indexOf(entry)}.mts`, `import * as entry from "${entry}";\n${code}`);
  }
  project.compile(...STRICT, "--noEmit", ...ENTRIES.map((_, index) => `names-${index}.mts`));
});

test("the types fit the clients of Phoenix, LiveView and React, and refuse mistakes", () => {
  project.write("types.mts", readFileSync(new URL("support/types.mts", import.meta.url), "utf8"));
  // The types of LiveView are for bundlers only.
  project.compile(...STRICT, "--module", "esnext", "--moduleResolution", "bundler", "--noEmit", "types.mts");
  project.write("mistake.mts", `import { isStatus } from "headcount";\nexport const wrong: number = isStatus(1);\n`);
  assert.throws(() => project.compile(...STRICT, "--noEmit", "mistake.mts"), /TS2322/);
});

test("README: the client alone prints what its comments say", () => {
  const code = example("js", "new MemberListClient()");
  project.write("client.mjs", code);
  const printed = run("node", ["client.mjs"], project.folder).trim().split("\n");
  const stated = [...code.matchAll(/^console\.log\(.*\); \/\/ (\w+)/gm)].map(([, value]) => value);
  assert.ok(stated.length >= 3);
  assert.deepEqual(printed, stated);
});

test("README: the React component compiles and shows the list", async () => {
  project.write("members.tsx", example("tsx", "useMemberList"));
  project.compile(...STRICT, "members.tsx");
  const { Members } = await project.import("members.js");
  const React = await import("react");
  const { createRoot } = await import("react-dom/client");
  const client = new Client(server, await guest(server));
  const main = document.createElement("main");
  const root = createRoot(main);
  root.render(React.createElement(Members, { socket: client.socket, topic: `room:${room.id}` }));
  const texts = () => [...main.querySelectorAll("li")].map(({ textContent }) => textContent);
  await until("rows", () => texts().length > 10 && !texts().includes("…"));
  assert.match(texts()[0], /^[a-z]+ — \d+$/);
  assert.match(main.querySelector("h2").textContent, /^\d{4} members$/);
  assert.equal(main.querySelector("[role=alert]"), null);
  root.unmount();
  client.close();
});

test("README: the LiveView hook shows the list", async () => {
  const [html] = examples("html");
  const view = await new LiveView(server, await guest(server), () => `room:${room.id}`, html).listen();
  document.body.innerHTML = `<div id="phx-main" data-phx-main data-phx-session="s" data-phx-static="t"></div>`;
  globalThis.WebSocket = WebSocket;
  project.write("app.mjs", example("js", "LiveSocket").replace(`"/live"`, `"${view.url}"`));
  const { liveSocket } = await project.import("app.mjs");
  const rows = () => [...document.querySelectorAll("#members [data-kind]")];
  await until("rows", () => rows().length > 10 && rows().every(({ dataset }) => dataset.kind !== "loading"));
  liveSocket.disconnect();
  await view.close();
});

test("README: the list without a framework is shown, and ended", async () => {
  project.write("plain.mjs", example("js", "showMembers"));
  const { showMembers } = await project.import("plain.mjs");
  const client = new Client(server, await guest(server));
  const { channel, log, push } = await client.join(`room:${room.id}`);
  const [scroll, sizer, rows] = [0, 1, 2].map(() => document.createElement("div"));
  scroll.style.height = "400px";
  scroll.append(sizer);
  sizer.append(rows);
  const end = showMembers(channel, { scroll, sizer, rows });
  const texts = () => [...rows.children].map(({ textContent }) => textContent);
  await until("rows", () => texts().length === 18 && !texts().includes("…"));
  end();
  // The answer comes after the window was closed.
  await push("set_status", { status: "idle" });
  const before = log.filter(({ event }) => event === "member_list").length;
  await push("member_list_open", { window: "c:5" });
  await until("a bundle", () => log.filter(({ event }) => event === "member_list").length > before);
  const { payload } = log.filter(({ event }) => event === "member_list").at(-1);
  assert.deepEqual(payload.windows, ["c:5"]);
  client.close();
});
