import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { ROOT } from "./support/server.mjs";

test("the vendored Phoenix client is the file of the package", () => {
  const main = createRequire(import.meta.url).resolve("phoenix");
  const ours = readFileSync(join(ROOT, "reference-server/web/vendor/phoenix.mjs"));
  assert.ok(ours.equals(readFileSync(join(dirname(main), "phoenix.mjs"))));
  const version = JSON.parse(readFileSync(join(dirname(main), "../../package.json"))).version;
  assert.match(
    readFileSync(join(ROOT, "reference-server/web/vendor/README.md"), "utf8"),
    new RegExp(`\\b${version.replaceAll(".", "\\.")}\\b`),
  );
});
