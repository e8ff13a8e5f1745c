"""The packages of `.ci/packages`, as their users get them: each is installed in a project of its own outside of the
tree, has its licences and version, and runs what its README shows. Then a node of each language that has nodes joins
one cluster. Usage: packages.py FOLDER
"""

import asyncio
import email
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
from collections.abc import Callable
from typing import TypeVar

from cluster import Agreement, guarded, nats_server
from nodes import ROOT, Node, Places, Program

VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
LICENCES = ["LICENSE-APACHE", "LICENSE-MIT"]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MAKEFLAGS")},
    # Dependencies that other suites have compiled are not compiled again.
    "CARGO_TARGET_DIR": str(TARGET),
    "CARGO_NET_OFFLINE": "true",
    "MIX_ENV": "test",
    "HEADCOUNT_BUILD": "1",
    "HEADCOUNT_NIF_FEATURES": "nats",
}

CARGO_TOML = """
[package]
name = "scratch"
edition = "2024"

[[bin]]
name = "readme"
path = "readme.rs"

[[bin]]
name = "node"
path = {node}

[dependencies]
headcount = {{ path = "headcount-{version}", features = ["nats"] }}
serde = {{ version = "1", features = ["derive"] }}
serde_json = "1"
tokio = {{ version = "1", features = ["io-std", "io-util", "macros", "rt"] }}

# As the other release builds have it, which compile the same dependencies.
[profile.release]
strip = true
"""

# The tests of speed and size are elsewhere: what is built here again, at new paths, is not optimised.
PROFILE = "".join(
    f'[profile.release.package."{name}"]\nopt-level = 0\n'
    for name in ("headcount", "headcount-python", "headcount_nif", "scratch")
)

MIX_EXS = """
defmodule Scratch.MixProject do
  use Mix.Project

  def project, do: [app: :scratch, version: "0.1.0", deps: [{:headcount, path: "headcount"}]]
  def application, do: [extra_applications: [:logger]]
end
"""


Result = TypeVar("Result")


class Failed(Exception):
    """A package is not as it should be; the text names it."""


def run(what: str, folder: pathlib.Path, *command: str | pathlib.Path) -> str:
    """Run a command that must succeed, and return what it printed."""
    arguments = [str(part) for part in command]
    done = subprocess.run(arguments, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{what}: `{' '.join(arguments)}` ends with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def expect(what: str, name: str, value: object, expected: object) -> None:
    if value != expected:
        raise Failed(f"{what}: {name} is {value!r}, not {expected!r}")


def expect_licences(what: str, folder: pathlib.Path) -> None:
    for name in LICENCES:
        path = folder / name
        if not path.is_file() or path.read_text() != (ROOT / name).read_text():
            raise Failed(f"{what}: {name} is missing or has another text than that of the repository")


def unpack(package: pathlib.Path, folder: pathlib.Path) -> None:
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")


def configure(folder: pathlib.Path, settings: str) -> None:
    """Let cargo work with these settings below a folder."""
    (folder / ".cargo").mkdir()
    (folder / ".cargo/config.toml").write_text(settings)


def block(what: str, readme: pathlib.Path, language: str, text: str) -> str:
    """Return the one block of a README in a language that contains a text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [code for code in blocks if text in code] or [""]
    if not found:
        raise Failed(f"{what}: its README has no block in {language} with {text!r}")
    return str(found)


class Scratch:
    """The projects in which the packages of a folder are installed."""

    def __init__(self, packages: pathlib.Path, folder: pathlib.Path) -> None:
        self.packages = packages
        self.folder = folder
        configure(folder, PROFILE)

    def package(self, pattern: str) -> pathlib.Path:
        found = list(self.packages.glob(pattern))
        if len(found) != 1:
            raise Failed(f"{pattern}: {len(found)} packages have this name in {self.packages}")
        return found[0]

    def project(self, name: str) -> pathlib.Path:
        project = self.folder / name
        project.mkdir()
        return project

    def crate(self) -> Program:
        """Build a program with the crate as its dependency."""
        what = "the crate"
        project = self.project("rust")
        unpack(self.package("headcount-*.crate"), project)
        crate = project / f"headcount-{VERSION}"
        expect_licences(what, crate)
        readme = block(what, crate / "README.md", "rust", "use headcount::")
        code = re.sub(r"^# ", "", readme, flags=re.MULTILINE)
        (project / "readme.rs").write_text(f"fn main() -> Result<(), Box<dyn std::error::Error>> {{\n{code}}}\n")
        node = json.dumps(str(ROOT / "core/tests/mixed/node.rs"))
        (project / "Cargo.toml").write_text(CARGO_TOML.format(node=node, version=VERSION))
        shutil.copy(ROOT / "Cargo.lock", project)
        run(what, project, "cargo", "build", "--release", "--quiet")
        for name in ("readme", "node"):
            shutil.copy(TARGET / "release" / name, project)
        run(what, project, project / "readme")
        return project, [str(project / "node")]

    def wheel(self) -> Program:
        return self.module("the wheel", "wheel", "headcount-*.whl", "--no-index")

    def sdist(self) -> Program:
        return self.module("the sdist", "sdist", "headcount-[0-9]*.tar.gz")

    def module(self, what: str, name: str, pattern: str, *options: str) -> Program:
        """Install the Python module in a virtualenv."""
        project = self.project(name)
        venv.create(project / "venv", with_pip=True)
        python = project / "venv/bin/python"
        pip: list[str | pathlib.Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(what, project, *pip, *options, self.package(pattern))
        (installed,) = (project / "venv").glob("lib/python*/site-packages")
        about = installed / f"headcount-{VERSION}.dist-info"
        expect_licences(what, about / "licenses")
        expect(what, "py.typed", (installed / "headcount/py.typed").exists(), True)
        version = run(what, project, python, "-I", "-c", "import headcount; print(headcount.__version__)")
        expect(what, "__version__", version.strip(), VERSION)
        readme = email.message_from_string((about / "METADATA").read_text()).get_payload()
        (project / "README.md").write_text(str(readme))
        options = ("-o", "ELLIPSIS", "-o", "NORMALIZE_WHITESPACE")
        run(what, project, python, "-I", "-m", "doctest", *options, "README.md")
        return project, [str(python), "-I", str(ROOT / "ffi-python/tests/mixed/node.py")]

    def hex(self) -> Program:
        """Build a mix project with the Elixir package as its dependency, and its NIF from the package's sources."""
        what = "the Hex package"
        project = self.project("elixir")
        unpack(self.package("headcount-hex.tar.gz"), project / "headcount")
        expect_licences(what, project / "headcount")
        # Until a registry has the crate, it is the packed one; the other crates are those that the suites test.
        crate = json.dumps(str(self.folder / "rust" / f"headcount-{VERSION}"))
        configure(project, f"[patch.crates-io]\nheadcount = {{ path = {crate} }}\n")
        shutil.copy(ROOT / "Cargo.lock", project / "headcount/native/headcount_nif")
        (project / "mix.exs").write_text(MIX_EXS)
        (project / "lib").mkdir()
        shutil.copy(ROOT / "ffi-elixir/test/support/phoenix.ex", project / "lib")
        (project / "test").mkdir()
        (project / "test/test_helper.exs").write_text("ExUnit.start()\n")
        shutil.copy(ROOT / "ffi-elixir/test/readme_test.exs", project / "test")
        shutil.copy(project / "headcount/README.md", project)
        run(what, project, "mix", "test")
        version = run(what, project, "mix", "run", "-e", "IO.write(Application.spec(:headcount, :vsn))")
        expect(what, "its version", version, VERSION)
        return project, ["mix", "run", "--no-compile", "--no-deps-check", str(ROOT / "ffi-elixir/test/mixed/node.exs")]

    def npm(self) -> None:
        """Install the npm package, whose client applies the bundle of its README."""
        what = "the npm package"
        project = self.project("npm")
        (project / "package.json").write_text('{ "name": "scratch", "private": true, "type": "module" }')
        package = self.package("headcount-*.tgz")
        run(what, project, "npm", "install", "--offline", "--no-audit", "--no-fund", package)
        installed = project / "node_modules/headcount"
        expect_licences(what, installed)
        expect(what, "its version", json.loads((installed / "package.json").read_text())["version"], VERSION)
        (project / "readme.mjs").write_text(block(what, installed / "README.md", "js", "client.apply(bundle)"))
        expect(what, "the output of its README", run(what, project, "node", "readme.mjs"), "0\nAda\n3\n")


async def join(programs: dict[str, Program]) -> None:
    """Let a node of each package track an entry; all of them must list all entries."""

    def track(node: Node) -> None:
        name, meta = node.language, {"package": node.language}
        node.send("track", topic="room", key=name, owner="conn", meta=meta, status=0)
        node.expected.append(True)
        node.tracked["room", name, "conn"] = meta, 0

    async with nats_server() as port:
        cluster = Agreement(Places([], []))
        nodes = [Node(name, port, cluster.places, program) for name, program in programs.items()]

        async def agree() -> None:
            await asyncio.gather(*(node.start() for node in nodes))
            for node in nodes:
                track(node)
            await cluster.agree("the nodes of the packages", [(node, nodes) for node in nodes])

        try:
            await guarded(agree, asyncio.ensure_future(cluster.observer.follow(port)))
        finally:
            for node in nodes:
                await node.end()


def timed(name: str, step: Callable[[], Result]) -> Result:
    began = time.monotonic()
    result = step()
    print(f"packages: {name} ({time.monotonic() - began:.0f} s)", flush=True)
    return result


def own_files() -> set[pathlib.Path]:
    """Return what cargo keeps for this project's own crates, which the scratch projects build at paths of their own."""
    folders = [TARGET / "release/deps", TARGET / "release/.fingerprint"]
    return {path for folder in folders for path in folder.glob("*headcount*")}


def main() -> None:
    subprocess.run(["cargo", "fetch", "--locked", "--quiet"], cwd=ROOT, check=True)
    kept = own_files()
    try:
        with tempfile.TemporaryDirectory(prefix="headcount-packages-") as folder:
            # pip and maturin build here too.
            ENVIRONMENT["TMPDIR"] = folder
            scratch = Scratch(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(folder))
            programs = {
                "rust": timed("the crate builds, and its README runs", scratch.crate),
                "elixir": timed("the Hex package builds, and its README runs", scratch.hex),
                "wheel": timed("the wheel is installed, and its README runs", scratch.wheel),
                "sdist": timed("the sdist is installed, and its README runs", scratch.sdist),
            }
            timed("the npm package is installed, and its README runs", scratch.npm)
            timed(f"one cluster of {', '.join(programs)}", lambda: asyncio.run(join(programs)))
    except Failed as failure:
        sys.exit(f"packages: {failure}")
    finally:
        for path in own_files() - kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
