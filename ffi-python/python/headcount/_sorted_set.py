"""`SortedSet`: the tree of the extension as a set and a sequence of Python."""

from collections.abc import Callable, Iterable, Iterator, MutableSet, Sequence
from itertools import islice
from collections.abc import Set as AbstractSet
from typing import Any, Self, TypeVar

from headcount._errors import LimitError
from headcount._headcount import SortedTree

__all__ = ["SortedSet"]

_T = TypeVar("_T")

_VALUES_MAX = 1 << 24


def _read(iterable: Iterable[_T]) -> AbstractSet[_T]:
    """Collect the values of an iterable, which may be endless."""
    if isinstance(iterable, AbstractSet):
        return iterable
    values = list(islice(iterable, _VALUES_MAX + 1))
    if len(values) > _VALUES_MAX:
        raise LimitError(f"at most {_VALUES_MAX} values are read at a time", _VALUES_MAX)
    return set(values)


class SortedSet(SortedTree[_T], MutableSet[_T], Sequence[_T]):
    """A set in order that knows positions: the value at an index, and the index of a value.

    It holds ``int``, ``float``, ``str``, ``bytes``, ``date``, ``datetime``, ``UUID`` and tuples of
    these, and keeps the objects themselves. Values of different types are ordered number < bytes <
    str < tuple < date < datetime < UUID, values of one type as in Python, datetimes with a time
    zone by their instant. The methods are those of ``sortedcontainers.SortedSet``, beside `insert`
    and `take`, which return positions.

    It begins with the values of `iterable`, up to 16,777,216 of them, in O(n log n); `update` takes
    more. `key` returns, for each value, another one that decides its place.

    >>> scores = SortedSet([(30, "ann"), (10, "bob"), (20, "cid")])
    >>> scores.insert((15, "dan"))
    (1, True)
    >>> scores[1], scores[-1], scores.index((20, "cid"))
    ((15, 'dan'), (30, 'ann'), 2)
    >>> scores[1:3]
    [(15, 'dan'), (20, 'cid')]
    >>> scores.take((10, "bob"))
    0
    >>> list(scores.irange((16,), reverse=True))
    [(30, 'ann'), (20, 'cid')]
    """

    __module__ = "headcount"

    def __repr__(self) -> str:
        key = "" if self.key is None else f", key={self.key!r}"
        return f"{type(self).__name__}({list(self)!r}{key})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self), self.key)

    def copy(self) -> Self:
        """Return a copy. O(1): values are shared until one of the sets changes."""
        copied = type(self)((), self.key)
        copied._share(self)
        return copied

    __copy__ = copy

    def irange(
        self,
        minimum: _T | None = None,
        maximum: _T | None = None,
        inclusive: tuple[bool, bool] = (True, True),
        reverse: bool = False,
    ) -> Iterator[_T]:
        """Return an iterator over the values between two values, which need not be there."""
        with_first, with_last = inclusive
        start = stop = None
        if minimum is not None:
            start = self.bisect_left(minimum) if with_first else self.bisect_right(minimum)
        if maximum is not None:
            stop = self.bisect_right(maximum) if with_last else self.bisect_left(maximum)
        return self.islice(start, stop, reverse)

    def irange_key(
        self,
        min_key: object = None,
        max_key: object = None,
        inclusive: tuple[bool, bool] = (True, True),
        reverse: bool = False,
    ) -> Iterator[_T]:
        """Return an iterator over the values whose keys lie between two keys."""
        with_first, with_last = inclusive
        start = stop = None
        if min_key is not None:
            start = self.bisect_key_left(min_key) if with_first else self.bisect_key_right(min_key)
        if max_key is not None:
            stop = self.bisect_key_right(max_key) if with_last else self.bisect_key_left(max_key)
        return self.islice(start, stop, reverse)

    def bisect(self, value: _T) -> int:
        """Return the index after the values that sort as this one: as `bisect_right`."""
        return self.bisect_right(value)

    def bisect_key(self, key: object) -> int:
        """Return the index after the values with this key: as `bisect_key_right`."""
        return self.bisect_key_right(key)

    def union(self, *iterables: Iterable[_T]) -> Self:
        """Return a set of the values of this one and of all iterables."""
        made = self.copy()
        made.update(*iterables)
        return made

    def intersection(self, *iterables: Iterable[object]) -> Self:
        """Return a set of the values that this one and all iterables have."""
        return self.copy().intersection_update(*iterables)

    def difference(self, *iterables: Iterable[object]) -> Self:
        """Return a set of the values that none of the iterables has."""
        return self.copy().difference_update(*iterables)

    def symmetric_difference(self, other: Iterable[_T]) -> Self:
        """Return a set of the values that either this one or the iterable has, but not both."""
        return self.copy().symmetric_difference_update(other)

    def intersection_update(self, *iterables: Iterable[object]) -> Self:
        """Keep only the values that all iterables have; return the set."""
        here = self.copy()
        kept = set(range(len(here))) if not iterables else set.intersection(*map(here._indexes, iterables))
        self._replace([here[index] for index in sorted(kept)])
        return self

    def difference_update(self, *iterables: Iterable[Any]) -> Self:
        """Remove the values that any of the iterables has; return the set."""
        for values in [list(_read(iterable)) for iterable in iterables]:
            for value in values:
                self.discard(value)
        return self

    def symmetric_difference_update(self, other: Iterable[_T]) -> Self:
        """Keep only the values that either this one or the iterable has; return the set."""
        here = self.copy()
        values = list(_read(other))
        made = here.difference(values)
        made.update(value for value in values if value not in here)
        self._share(made)
        return self

    def issubset(self, other: Iterable[object]) -> bool:
        """Return whether the iterable has all values of this set."""
        here = self.copy()
        return len(here._indexes(other)) == len(here)

    def issuperset(self, other: Iterable[object]) -> bool:
        """Return whether this set has all values of the iterable."""
        return all(value in self for value in _read(other))

    def isdisjoint(self, other: Iterable[object]) -> bool:
        """Return whether this set and the iterable have no value in common."""
        return not any(value in self for value in _read(other))

    def __or__(self, other: Iterable[Any]) -> Self:
        return self.union(other) if isinstance(other, Iterable) else NotImplemented

    def __and__(self, other: Iterable[Any]) -> Self:
        return self.intersection(other) if isinstance(other, Iterable) else NotImplemented

    def __sub__(self, other: Iterable[Any]) -> Self:
        return self.difference(other) if isinstance(other, Iterable) else NotImplemented

    def __xor__(self, other: Iterable[Any]) -> Self:
        return self.symmetric_difference(other) if isinstance(other, Iterable) else NotImplemented

    __ror__, __rand__, __rxor__ = __or__, __and__, __xor__

    def __rsub__(self, other: Iterable[_T]) -> Self:
        return self._like(other).difference(self) if isinstance(other, Iterable) else NotImplemented

    def __ior__(self, other: Iterable[Any]) -> Self:
        self.update(other)
        return self

    def __iand__(self, other: Iterable[Any]) -> Self:
        return self.intersection_update(other)

    def __isub__(self, other: Iterable[Any]) -> Self:
        return self.difference_update(other)

    def __ixor__(self, other: Iterable[Any]) -> Self:
        return self.symmetric_difference_update(other)

    def __le__(self, other: AbstractSet[Any]) -> bool:
        return self.issubset(other) if isinstance(other, AbstractSet) else NotImplemented

    def __lt__(self, other: AbstractSet[Any]) -> bool:
        return len(self) < len(other) and self <= other if isinstance(other, AbstractSet) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return len(self) == len(other) and self <= other if isinstance(other, AbstractSet) else NotImplemented

    def _indexes(self, iterable: Iterable[object]) -> set[int]:
        """Return the indexes of the values of an iterable that this set has."""
        return {self.index(value) for value in _read(iterable) if value in self}

    def _like(self, values: Iterable[_T]) -> Self:
        """Make a set of these values with the same key function."""
        return type(self)(values, self.key)
