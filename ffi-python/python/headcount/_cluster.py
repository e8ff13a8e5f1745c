"""The classes of the compiled half that run a node of a cluster, and what a presence yields."""

from headcount._headcount import (
    Bridge,
    Event,
    Feed,
    GroupSubscription,
    Keys,
    MemoryNetwork,
    NodeBase,
    Signal,
    Transmit,
    WatchHandle,
)

__all__ = [
    "Bridge",
    "Event",
    "Feed",
    "GroupSubscription",
    "Keys",
    "MemoryNetwork",
    "NodeBase",
    "Signal",
    "Transmit",
    "WatchHandle",
]
