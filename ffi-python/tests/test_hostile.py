"""No argument makes the interpreter abort, panic, or raise what is not documented."""

import json
import pathlib
import subprocess
import sys
import unittest

PROGRAMS = pathlib.Path(__file__).resolve().parent


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAMS / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Hostile(unittest.TestCase):
    def test_every_callable_bears_every_hostile_value(self) -> None:
        done = run("hostile.py")
        self.assertEqual(done.returncode, 0, done.stderr[-2_000:])
        self.assertNotIn("panicked", done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["wrong"], [])
        self.assertGreater(report["calls"], 40_000)


if __name__ == "__main__":
    unittest.main()
