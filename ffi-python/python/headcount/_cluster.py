"""The classes of the compiled half that run a node of a cluster."""

from headcount._headcount import Bridge, Feed, MemoryNetwork, NodeBase

__all__ = ["Bridge", "Feed", "MemoryNetwork", "NodeBase"]
