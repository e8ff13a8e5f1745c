"""The stubs agree with the compiled module, and with themselves."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as cwd:
        return subprocess.run(
            [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, check=False
        )


class Types(unittest.TestCase):
    def test_mypy_is_content_with_package_and_tests(self) -> None:
        result = run("mypy", "--strict", "-p", "headcount")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        result = run("mypy", "--config-file", str(ROOT / "pyproject.toml"), str(ROOT / "tests"), str(ROOT / "examples"))
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_mypy_is_content_where_other_systems_lack_calls(self) -> None:
        config = ("--config-file", str(ROOT / "pyproject.toml"))
        for platform in ("win32", "darwin"):
            with self.subTest(platform):
                result = run("mypy", *config, "--platform", platform, str(ROOT / "tests"), str(ROOT / "examples"))
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_the_stubs_say_what_the_module_has(self) -> None:
        result = run("mypy.stubtest", "headcount")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


if __name__ == "__main__":
    unittest.main()
