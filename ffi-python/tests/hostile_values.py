"""The values that `hostile.py` passes to every callable."""

import array
import contextlib
import decimal
import itertools
import mmap
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import headcount

MEGABYTE = 1 << 20
LIE = 10**13


class Boom(Exception):
    """What hostile objects raise."""


# What the documentation says that arguments can raise, and what the objects above raise.
ALLOWED = (
    TypeError, ValueError, OverflowError, LookupError, MemoryError, RecursionError, BufferError, OSError,
    headcount.HeadcountError, Boom,
)  # fmt: skip


def boom(*_args: object) -> Any:
    raise Boom


def returning(answer: Any) -> Callable[..., Any]:
    return lambda *_: answer


def raising(**methods: Any) -> object:
    return type("Hostile", (), methods)()


class OddUuid(uuid.UUID):
    def __getattribute__(self, name: str) -> Any:
        raise Boom


def deep(depth: int) -> list[Any]:
    nest: list[Any] = []
    for _ in range(depth):
        nest = [nest]
    return nest


def endless(item: object) -> Iterator[object]:
    while True:
        yield item


def entering(target: Any, answer: object) -> Any:
    """A method that uses the object under test before it answers."""

    def method(*_args: object) -> object:
        with contextlib.suppress(*ALLOWED):
            repr(target)
            len(target)
            target.clear() if hasattr(target, "clear") else list(target)
        return answer

    return method


def numbers() -> list[object]:
    whole = [0, 1, 2**15, 2**31, 2**32, 2**62, 2**63, 2**64, 2**128, 10**5000]
    reals = [0.5, float("nan"), float("inf"), 1e308, 5e-324, 1.8446744073709552e19]
    return [True, *whole, *(-n for n in whole), *reals, *(-x for x in reals)]


def texts() -> list[object]:
    parts = ["", "x", "\0", "\ud800", "\U0010ffff", "c:4294967295", "a:1:2:3", "online"]
    name = type("Name", (str,), {"__str__": boom, "__hash__": boom, "__len__": boom})
    return [*parts, "x" * MEGABYTE, "é" * MEGABYTE, name("room")]


def buffers() -> list[object]:
    blob = type("Blob", (bytes,), {"__len__": boom, "__bytes__": boom})
    return [
        b"",
        b"\xff" * MEGABYTE,
        blob(b"HC"),
        bytearray(b"HC\1\0"),
        memoryview(b"abcdef")[::2],
        memoryview(b"abcd").cast("H"),
        memoryview(b"HC\1\0")[1:],
        array.array("d", [1.0]),
        mmap.mmap(-1, 64 * MEGABYTE),
    ]


def containers() -> list[object]:
    """What lies about its length, is no mapping, or holds what it should not."""
    return [
        range(LIE),
        raising(__len__=lambda _: LIE, __iter__=lambda _: iter(())),
        raising(__len__=lambda _: LIE, __getitem__=boom),
        raising(__len__=boom, __iter__=lambda _: iter(["online"])),
        raising(__iter__=boom),
        raising(__iter__=lambda self: self, __next__=lambda _: 1),
        type("Liar", (list,), {"__len__": lambda _: LIE})(["online"]),
        type("Liar", (tuple,), {"__len__": lambda _: LIE, "__getitem__": boom})(("a", 1)),
        type("Liar", (dict,), {"__len__": boom, "items": boom, "keys": boom})(),
        [],
        (),
        {},
        [None],
        [("upsert",)],
        [("upsert", 1, "online", 1, -1)],
        [("upsert", 1, 1), ("set_key", 1, 2**63, 1)],
        [("upsert", *range(100_000))],
        [tuple(range(100_000))],
        [(1, "online", ("a", "b"))],
        ["online"] * 10_000,
        deep(100_000),
        {"a": deep(2_000)},
        set(),
    ]


def others() -> list[object]:
    far = 2**70
    odd = type("Meta", (type,), {"__instancecheck__": boom, "__eq__": boom, "__hash__": boom})
    return [
        None,
        object(),
        Exception,
        lambda *_: boom(),
        decimal.Decimal("sNaN"),
        uuid.UUID(int=2**128 - 1),
        OddUuid.__new__(OddUuid),
        slice(None),
        slice(None, None, -1),
        slice(-far, far, far),
        slice(far, -far, -far),
        slice(0, 0, 0),
        slice(raising(__index__=boom)),
        raising(__index__=boom, __int__=boom, __float__=boom),
        raising(__index__=lambda _: far, __float__=lambda _: float("nan")),
        raising(__hash__=boom, __eq__=boom, __repr__=boom, __str__=boom, __bool__=boom),
        raising(__getattr__=boom, __class__=property(boom)),
        odd("Odd", (), {}),
    ]


CONSTANT = [*numbers(), *texts(), *buffers(), *containers(), *others()]
# What is used up by a call, or needs the object under test.
FRESH: list[Callable[[Any], object]] = [
    lambda _: itertools.count(),
    lambda _: endless(None),
    lambda _: endless("online"),
    lambda _: endless(b"x"),
    lambda _: endless((1, "online", 1)),
    lambda _: endless(("upsert", 1, "online", 1)),
    lambda _: endless(("set_payload", 1, "x" * 10_000)),
    lambda _: endless((1, 1)),
    lambda _: endless((1, 1, range(100), "x" * 10_000)),
    lambda _: endless((1, 1, endless(1))),
    lambda _: endless(("upsert", 1, 1, [1])),
    lambda _: endless(()),
    lambda _: (boom() for _ in range(3)),
    lambda _: {"epoch": 1, "version": 1, "frames": endless({})},
    lambda target: target,
    lambda target: type(target),
    lambda target: raising(__iter__=entering(target, iter(["online"]))),
    lambda target: slice(raising(__index__=entering(target, 3))),
    lambda target: raising(__index__=entering(target, 0), __float__=entering(target, 0.0)),
    lambda target: raising(__call__=entering(target, ("online", 1))),
]
VALUES: list[Callable[[Any], object]] = [
    *((lambda _, value=value: value) for value in CONSTANT),
    *FRESH,
]
