"""The exceptions of headcount."""

__all__ = [
    "AlreadyTracked",
    "ApplyError",
    "ConnectError",
    "DecodeError",
    "DuplicateName",
    "ForkError",
    "GapError",
    "HeadcountError",
    "HiddenMember",
    "LagError",
    "LimitError",
    "ListBuilding",
    "ListError",
    "NodeStopped",
    "NotReady",
    "NotTracked",
    "NotWatched",
    "ReadError",
    "TrackError",
    "UnknownGroup",
    "UnknownList",
    "UnknownMember",
    "WindowError",
]


class HeadcountError(Exception):
    """The base of every exception of this package. A refused call has changed nothing."""

    __module__ = "headcount"


class DecodeError(HeadcountError, ValueError):
    """Bytes that are not a well-formed frame or snapshot."""

    __module__ = "headcount"

    offset: int
    """The offset of the fault in the bytes."""
    kind: str
    """The fault, as one word of snake case: ``truncated``, ``bad_checksum`` ..."""

    def __init__(self, message: str, offset: int, kind: str) -> None:
        super().__init__(message, offset, kind)
        self.offset = offset
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])


class ApplyError(HeadcountError, ValueError):
    """A well-formed frame that does not fit the state of its receiver."""

    __module__ = "headcount"

    kind: str
    """The reason, as one word of snake case: ``superseded``, ``diverged``, ``own_origin`` ..."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message, kind)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])


class GapError(ApplyError):
    """A frame that starts after the known operations of its origin: ask for those between."""

    __module__ = "headcount"

    clock: int
    """The clock of the origin at the receiver."""
    start: int
    """The clock that the frame starts from."""

    def __init__(self, message: str, clock: int, start: int) -> None:
        HeadcountError.__init__(self, message, clock, start)
        self.kind = "gap"
        self.clock = clock
        self.start = start


class TrackError(HeadcountError, ValueError):
    """An operation of a tracker that cannot be carried out."""

    __module__ = "headcount"

    kind: str
    """The reason, as one word of snake case: ``already_tracked``, ``not_tracked`` ..."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message, kind)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])


class AlreadyTracked(TrackError):
    """``track`` of a (topic, key, owner) that is tracked: use ``update`` or ``upsert``."""

    __module__ = "headcount"


class NotTracked(TrackError, LookupError):
    """``update`` of a (topic, key, owner) that is not tracked: use ``track`` or ``upsert``."""

    __module__ = "headcount"


class ReadError(HeadcountError):
    """A topic that this node cannot read, in mode ``interest``."""

    __module__ = "headcount"

    topic: str
    """The topic."""

    def __init__(self, message: str, topic: str) -> None:
        super().__init__(message, topic)
        self.topic = topic

    def __str__(self) -> str:
        return str(self.args[0])


class NotWatched(ReadError):
    """A read of a topic that this node does not watch: ``watch`` it first, or its counts
    (``watch_counts``) to count it only.
    """

    __module__ = "headcount"


class NotReady(ReadError):
    """A read of a watched topic before some other node has told what it has: wait until it is ready."""

    __module__ = "headcount"


class ListError(HeadcountError, ValueError):
    """A call on a list that cannot be carried out."""

    __module__ = "headcount"

    kind: str
    """The reason, as one word of snake case: ``unknown_member``, ``group_exists`` ..."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message, kind)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownGroup(ListError, LookupError):
    """No group has this name."""

    __module__ = "headcount"


class UnknownList(ListError, LookupError):
    """The list was removed from its table, or is of another one."""

    __module__ = "headcount"


class ListBuilding(ListError):
    """The list is still being built: it can be read once ``MemberTable.build`` has gone over all members."""

    __module__ = "headcount"


class UnknownMember(ListError, LookupError):
    """No member has this id."""

    __module__ = "headcount"


class HiddenMember(ListError, LookupError):
    """The member has no row now, because its group is hidden or collapsed."""

    __module__ = "headcount"


class DuplicateName(HeadcountError, RuntimeError):
    """Another live node of the cluster uses this node's name; this one is silent until it is gone."""

    __module__ = "headcount"


class ConnectError(HeadcountError, ConnectionError):
    """A cluster that could not be joined."""

    __module__ = "headcount"

    is_transient: bool
    """Whether another attempt may succeed: the servers did not answer, but refused nothing."""

    def __init__(self, message: str, is_transient: bool) -> None:
        super().__init__(message, is_transient)
        self.is_transient = is_transient

    def __str__(self) -> str:
        return str(self.args[0])


class NodeStopped(HeadcountError, RuntimeError):
    """A call on a node that was not started or has stopped."""

    __module__ = "headcount"


class LagError(HeadcountError):
    """A subscription whose reader fell too far behind.

    One of changes is over: subscribe again, which begins with the state. One of events goes on.
    """

    __module__ = "headcount"


class ForkError(HeadcountError, RuntimeError):
    """An object that was made before ``os.fork()``, used in the child: make it after the fork."""

    __module__ = "headcount"


class LimitError(HeadcountError, ValueError):
    """A length or a number above its limit."""

    __module__ = "headcount"

    limit: int
    """The limit, in bytes for a length."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message, limit)
        self.limit = limit

    def __str__(self) -> str:
        return str(self.args[0])


class WindowError(HeadcountError, ValueError):
    """A window that cannot be opened, moved or closed."""

    __module__ = "headcount"

    kind: str
    """The reason, as one word of snake case: ``bad_name``, ``unknown_anchor``, ``not_open`` ..."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message, kind)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])
