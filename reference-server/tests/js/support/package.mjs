// Packs the npm package and installs it in a project of its own.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ROOT } from "./server.mjs";

/** The folder of the package. */
export const PACKAGE = join(ROOT, "reference-server/web/headcount");

const MODULES = fileURLToPath(new URL("../node_modules/", import.meta.url));

/** Runs a program that must succeed. Returns what it printed. */
export function run(program, args, cwd) {
  try {
    return execFileSync(program, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    throw new Error(`${program} ${args.join(" ")}: ${error.message}\n${error.stdout}${error.stderr}`);
  }
}

/** A project in a folder of its own that has the packed package, and from the tests' own packages those named. */
export class Project {
  constructor(linked = []) {
    this.folder = mkdtempSync(join(tmpdir(), "headcount-npm-"));
    const args = ["pack", "--json", "--pack-destination", this.folder];
    [this.packed] = JSON.parse(run("npm", args, PACKAGE));
    this.write("package.json", JSON.stringify({ name: "project", private: true, type: "module" }));
    // Offline: what the package needs is in it.
    const flags = ["--offline", "--no-audit", "--no-fund", "--legacy-peer-deps"];
    run("npm", ["install", ...flags, join(this.folder, this.packed.filename)], this.folder);
    for (const name of linked) {
      const link = join(this.folder, "node_modules", name);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(join(MODULES, name), link);
    }
  }

  write(name, text) {
    writeFileSync(join(this.folder, name), text);
  }

  /** Imports a file of the project, or of the package installed in it. */
  import(name) {
    return import(pathToFileURL(join(this.folder, name)));
  }

  /** Imports `headcount`, or an entry of it, as a file of the project does. */
  async load(entry) {
    const name = `load-${entry.replace(/\W/g, "-")}.mjs`;
    this.write(name, `export * from "${entry}";\n`);
    return this.import(name);
  }

  /** Runs the TypeScript compiler. */
  compile(...args) {
    return run(join(MODULES, ".bin/tsc"), args, this.folder);
  }

  end() {
    rmSync(this.folder, { recursive: true });
  }
}
