"""Calls every public callable with every hostile value in every parameter; see `test_hostile.py`.

It runs as a program of its own, so that an abort is seen as one. Prints how many calls it made.
"""

import asyncio
import contextlib
import inspect
import itertools
import json
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, is_typeddict

import headcount
from hostile_targets import TARGETS, good, node, rosters_that, tracker
from hostile_values import ALLOWED, CONSTANT, MEGABYTE, VALUES, boom, returning

assert sys.platform == "linux", "memory is limited by what Linux says of a process"
import resource  # noqa: E402


class Tally:
    """Makes calls, and keeps those that ended as none may."""

    def __init__(self) -> None:
        self.calls = 0
        self.wrong: list[str] = []

    def call(self, what: str, function: Callable[..., Any], args: Any, named: Any) -> None:
        self.calls += 1
        try:
            answer = function(*args, **named)
            if isinstance(answer, Iterator) and not isinstance(answer, itertools.count):
                list(itertools.islice(answer, 1_000))
        except ALLOWED:
            return
        except BaseException as error:
            self.wrong.append(f"{what}: {type(error)}: {error}"[:200])

    def parameters(self, what: str, make: Callable[[], tuple[Any, Callable[..., Any]]]) -> None:
        """Every hostile value in every parameter of what `make` gives with its target."""
        target, function = make()
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            signature = inspect.Signature(
                [inspect.Parameter(f"arg{n}", inspect.Parameter.POSITIONAL_ONLY) for n in (0, 1)]
            )
        self.call(what, function, (), {})
        given = list(signature.parameters.values())
        for spoilt in given:
            for number, value_for in enumerate(VALUES):
                target, function = make()
                args: list[Any] = []
                named: dict[str, Any] = {}
                bad = value_for(target)
                for parameter in given:
                    is_spoilt = parameter is spoilt
                    if not is_spoilt and parameter.default is not inspect.Parameter.empty:
                        continue
                    value = bad if is_spoilt else good(parameter.name, target)
                    if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                        named[parameter.name] = value
                    elif parameter.kind is parameter.KEYWORD_ONLY or (
                        is_spoilt and parameter.kind is not parameter.POSITIONAL_ONLY
                    ):
                        named[parameter.name] = value
                    elif named:
                        named[parameter.name] = value
                    else:
                        args.append(value)
                self.call(f"{what}({spoilt.name}=#{number})", function, args, named)


SPECIAL = ("__getitem__", "__contains__", "__eq__", "__lt__", "__iter__", "__len__", "__hash__")


def methods(target: Any) -> list[str]:
    public = [name for name in dir(target) if not name.startswith("_")]
    return [*public, *(name for name in (*SPECIAL, "__repr__", "__str__") if hasattr(target, name))]


def of_method(make: Callable[[], Any], name: str) -> Callable[[], tuple[Any, Any]]:
    def bound() -> tuple[Any, Any]:
        target = make()
        return target, getattr(target, name)

    return bound


def with_mappings(tally: Tally) -> None:
    """What a mapping of a roster answers, and what it does meanwhile."""
    change = tracker().take_diff()["room"]
    for number, answer in enumerate(CONSTANT):
        for answer in (answer, (answer, "key"), ("online", answer), ("online", "key", answer)):
            for made in rosters_that(returning(answer)):
                tally.call(f"mapping #{number}", made.apply, (change,), {})
    for made in rosters_that(lambda _: boom()):
        tally.call("mapping raises", made.apply, (change,), {})

    def enter(entry: Any) -> Any:
        made.list.add_group(f"g{made.list.member_count()}")
        if entry.owner == "conn-1" and not made.online_count():
            made.list.bulk_load([("9", "online", "z")])
            inner.append(entry)
            if len(inner) < 50:
                made.apply(change)
        return ("online", entry.key)

    inner: list[Any] = []
    made = next(rosters_that(enter))
    tally.call("mapping enters", made.apply, (change,), {})


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """What this process has, and 400 megabytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 400 * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


WAITING = {headcount.Node, headcount.Subscription, headcount.Watch}
"""Classes whose methods wait; the verbs of a node are called on that for asyncio."""


async def main() -> None:
    # Tables are saved to any path.
    with tempfile.TemporaryDirectory() as away, contextlib.chdir(away):
        await call_all()


async def call_all() -> None:
    await node()
    tally = Tally()
    with limited_memory():
        call_each(tally)
    await node().stop()
    print(json.dumps({"calls": tally.calls, "wrong": tally.wrong}))


def call_each(tally: Tally) -> None:
    values = [getattr(headcount, name) for name in headcount.__all__]
    public = {value for value in values if inspect.isclass(value) and not is_typeddict(value)}
    made = {type(make()) for make in TARGETS.values()}
    errors = {kind for kind in public if issubclass(kind, Exception)}
    missing = public - made - errors - WAITING
    assert not missing, f"no instance of {missing}"
    given = public - {headcount.Subscription, headcount.Watch}  # Only nodes make those.
    for kind in sorted(given, key=lambda kind: str(kind.__name__)):
        tally.parameters(kind.__name__, returning((None, kind)))
        if not issubclass(kind, Exception):
            for name in ("from_binary", "restore", "__class_getitem__"):
                if hasattr(kind, name):
                    function = getattr(kind, name)
                    tally.parameters(f"{kind.__name__}.{name}", returning((None, function)))
    for title, make in TARGETS.items():
        for name in methods(make()):
            attribute = getattr(make(), name, None)
            if callable(attribute) and not inspect.iscoroutinefunction(attribute):
                tally.parameters(f"{title}.{name}", of_method(make, name))
    with_mappings(tally)


if __name__ == "__main__":
    asyncio.run(main())
