"""Objects that were made before a fork say so in the child, and new ones work."""

import json
import os
import pathlib
import subprocess
import sys
import unittest


@unittest.skipUnless(hasattr(os, "fork"), "this platform has no os.fork")
class Forks(unittest.TestCase):
    def test_objects_of_the_parent_raise_in_the_child(self) -> None:
        program = str(pathlib.Path(__file__).resolve().parent / "forked.py")
        command = [sys.executable, "-W", "ignore::DeprecationWarning", program, "20"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-2_000:])
        told = json.loads(done.stdout)
        self.assertEqual(len(told["reports"]), 20)
        for report in told["reports"]:
            self.assertEqual(report["status"], 0, "a child hung or died")
            self.assertEqual(sorted(report["outcomes"]), told["calls"])
            self.assertEqual(set(report["outcomes"].values()), {"ForkError"}, report["outcomes"])


if __name__ == "__main__":
    unittest.main()
