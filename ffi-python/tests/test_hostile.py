"""No argument makes the interpreter abort, panic, or raise what is not documented."""

import json
import pathlib
import subprocess
import sys
import threading
import unittest
from collections.abc import Callable

import headcount

PROGRAMS = pathlib.Path(__file__).resolve().parent


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAMS / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


limits_memory = unittest.skipUnless(
    sys.platform == "linux", "the memory of a process is limited by /proc and RLIMIT_AS, as on Linux"
)


class Hostile(unittest.TestCase):
    @limits_memory
    def test_every_callable_bears_every_hostile_value(self) -> None:
        done = run("hostile.py")
        self.assertEqual(done.returncode, 0, done.stderr[-2_000:])
        self.assertNotIn("panicked", done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["wrong"], [])
        self.assertGreater(report["calls"], 40_000)

    @limits_memory
    def test_large_work_without_memory_ends_in_memory_error(self) -> None:
        done = run("exhaust.py")
        self.assertEqual(done.returncode, 0, done.stderr[-2_000:])
        self.assertNotIn("panicked", done.stderr)
        for job, ends in json.loads(done.stdout).items():
            with self.subTest(job):
                self.assertLessEqual(ends.keys(), {"done", "no memory"}, done.stderr[-2_000:])
                self.assertIn("no memory", ends, "the limits were too high to show anything")

    def test_threads_that_get_in_each_others_way(self) -> None:
        ml = headcount.MemberList(int, groups=["online"])
        values = headcount.SortedSet(range(1_000))
        ml.bulk_load([(n, "online", n) for n in range(1_000)])
        wrong: list[BaseException] = []
        end = threading.Event()

        def until_end(work: Callable[[], object]) -> None:
            while not end.is_set():
                try:
                    work()
                except (LookupError, ValueError):
                    pass
                except BaseException as error:
                    wrong.append(error)
                    return

        def shrink_and_grow() -> None:
            ml.apply_batch([("remove", n) for n in range(1_000)])
            ml.bulk_load([(n, "online", n) for n in range(1_000)])
            values.clear()
            values.update(range(1_000))

        works: list[Callable[[], object]] = [
            lambda: ml[900],
            lambda: ml[-1],
            lambda: ml[500:],
            lambda: ml[::-7],
            lambda: list(ml),
            lambda: values[999],
            lambda: values[::-3],
            lambda: list(values),
        ]
        threads = [threading.Thread(target=until_end, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for _ in range(200):
            shrink_and_grow()
        end.set()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
