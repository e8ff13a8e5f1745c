// The npm package `headcount`.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { ROOT } from "./support/server.mjs";

const PACKAGE = join(ROOT, "reference-server/web/headcount");

test("the npm package contains the client of the page, documents and licences", async () => {
  const folder = mkdtempSync(join(tmpdir(), "headcount-npm-"));
  try {
    const args = ["pack", "--json", "--pack-destination", folder];
    const [packed] = JSON.parse(execFileSync("npm", args, { cwd: PACKAGE, encoding: "utf8" }));
    const files = packed.files.map((file) => file.path).sort();
    assert.deepEqual(files, [
      "CHANGELOG.md",
      "LICENSE-APACHE",
      "LICENSE-MIT",
      "README.md",
      "client.mjs",
      "groups.mjs",
      "index.mjs",
      "package.json",
      "scroll-map.mjs",
      "window-keeper.mjs",
    ]);
    execFileSync("tar", ["-xzf", join(folder, packed.filename), "-C", folder]);
    const client = await import(pathToFileURL(join(folder, "package/index.mjs")));
    assert.equal(client.checksum([]), 0);
    assert.equal(new client.MemberListClient().counts, null);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
