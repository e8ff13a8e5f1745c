import ast
import doctest
import inspect
import pathlib
import re
import unittest

import headcount
from headcount import _headcount, aio

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Examples(unittest.TestCase):
    def test_the_readme(self) -> None:
        result = doctest.testfile(str(ROOT / "README.md"), module_relative=False, optionflags=FLAGS)
        self.assertGreater(result.attempted, 10)
        self.assertEqual(result.failed, 0)

    def test_the_guides(self) -> None:
        guides = sorted((ROOT / "docs").glob("*.md"))
        attempted = 0
        for guide in guides:
            result = doctest.testfile(str(guide), module_relative=False, optionflags=FLAGS)
            self.assertEqual(result.failed, 0, guide.name)
            attempted += result.attempted
        self.assertGreater(attempted, 10)

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
        result = doctest.testmod(aio, optionflags=FLAGS)
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

    def test_what_constructors_take_is_described(self) -> None:
        # Those of the others are called by the module itself, or are named after their properties.
        made = (
            "Clause", "Collation", "ListSpec", "MemberList", "MemberTable", "MemoryNetwork", "Node", "Presence",
            "Roster", "SortedSet", "Tracker",
        )  # fmt: skip
        missing = []
        for cls in (*(getattr(headcount, name) for name in made), aio.Node, aio.StreamTransport):
            described = inspect.getdoc(cls) or ""
            names = set(inspect.signature(cls).parameters) - {"options"}
            missing += [f"{cls.__name__}.{name}" for name in sorted(names) if f"`{name}`" not in described]
        self.assertEqual(missing, [])

    def test_the_stub_says_what_the_module_says(self) -> None:
        folder = ROOT / "python" / "headcount"
        names = ("_headcount.pyi", "_client.pyi", "_cluster.pyi", "_reports.pyi", "_table.pyi")
        stubs = [ast.parse((folder / name).read_text()) for name in names]
        compared = 0
        for cls in (node for stub in stubs for node in stub.body if isinstance(node, ast.ClassDef)):
            value = getattr(_headcount, cls.name)
            documented: list[tuple[str, ast.ClassDef | ast.FunctionDef, object]] = [(cls.name, cls, value)]
            for node in cls.body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    documented.append((f"{cls.name}.{node.name}", node, getattr(value, node.name)))
            for name, node, described in documented:
                if any(ast.unparse(d) == "overload" for d in node.decorator_list):
                    continue
                compared += 1
                text = (inspect.getdoc(described) or "").split(">>>")[0]
                self.assertEqual((ast.get_docstring(node) or "").split(), text.split(), name)
        self.assertGreater(compared, 200)

    def test_methods_are_described_in_the_imperative(self) -> None:
        wrong = []
        classes = [getattr(headcount, name) for name in headcount.__all__ if not name.startswith("_")]
        classes += [getattr(aio, name) for name in aio.__all__]
        for cls in classes:
            methods = {name: method for name, method in vars(cls).items() if not name.startswith("_")}
            for name, method in methods.items():
                first = (inspect.getdoc(method) or "").split(" ")[0]
                if callable(method) and (first.endswith("s") or first in ("The", "A", "An", "What", "How")):
                    wrong.append(f"{cls.__name__}.{name}: {first}")
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
