"""The extra `test` is the one list of what the tests need."""

import ast
import pathlib
import re
import sys
import tomllib
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = {"gunicorn", "mypy", "pytest", "pytest-xdist", "uvicorn"}
"""What tests, or those who run them, start by name."""


def imported(source: pathlib.Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


class Requirements(unittest.TestCase):
    def test_the_list_has_all_that_the_tests_import_and_nothing_else(self) -> None:
        sources = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "examples").glob("*.py")]
        own = {source.stem for source in sources} | {"headcount"}
        needed = set().union(*map(imported, sources)) - own - sys.stdlib_module_names
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        listed = {re.split(r"[^\w-]", item)[0] for item in project["optional-dependencies"]["test"]}
        self.assertIn("sortedcontainers", needed)
        self.assertEqual(listed, needed | PROGRAMS)

    def test_the_job_of_each_wheel_installs_that_list(self) -> None:
        job = (ROOT.parent / ".ci" / "test-wheel").read_text(encoding="utf-8")
        self.assertIn("'headcount[test]'", job)
        for name in PROGRAMS | {"fastapi", "flask", "sortedcontainers", "websockets"}:
            self.assertNotIn(name, job)


if __name__ == "__main__":
    unittest.main()
