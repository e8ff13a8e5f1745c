import doctest
import importlib
import inspect
import pathlib
import re
import unittest

import headcount

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Examples(unittest.TestCase):
    def test_the_readme(self) -> None:
        result = doctest.testfile(str(ROOT / "README.md"), module_relative=False, optionflags=FLAGS)
        self.assertGreater(result.attempted, 10)
        self.assertEqual(result.failed, 0)

    def test_the_readme_of_the_project(self) -> None:
        text = (ROOT.parent / "README.md").read_text()
        blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        self.assertEqual(len(blocks), 1)
        exec(compile(blocks[0], "README.md", "exec"), {})

    def test_the_docstrings(self) -> None:
        finder = doctest.DocTestFinder()
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        for name in headcount.__all__:
            for case in finder.find(getattr(headcount, name), f"headcount.{name}", headcount):
                case.globs.update(vars(headcount))
                runner.run(case)
        self.assertGreater(runner.tries, 20)
        self.assertEqual(runner.failures, 0)

    def test_the_docstrings_of_aio(self) -> None:
        for name in ("headcount.aio", "headcount._transport"):
            result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
            self.assertGreater(result.attempted, 1)
            self.assertEqual(result.failed, 0)


class Docstrings(unittest.TestCase):
    def test_everything_public_has_one(self) -> None:
        missing = []
        for name in headcount.__all__:
            value = getattr(headcount, name)
            if not inspect.getdoc(value):
                missing.append(name)
            if not inspect.isclass(value):
                continue
            for member in vars(value):
                if not member.startswith("_") and not inspect.getdoc(getattr(value, member)):
                    missing.append(f"{name}.{member}")
        self.assertEqual([m for m in missing if not m.endswith(("Error.offset", "kind"))], [])


if __name__ == "__main__":
    unittest.main()
