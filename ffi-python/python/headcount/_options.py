"""The options and the counts of a node, as dicts with types."""

import os
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ConnectOptions", "NatsOptions", "Peer", "PresenceOptions", "Stats", "Traffic"]


class PresenceOptions(TypedDict, total=False):
    """The options of a `Presence`, and of a node."""

    incarnation: int | None
    """The life of the node among those of its name: microseconds since 1970 by default."""
    salt: int | None
    """A number that tells lives of one incarnation apart: random by default."""
    cluster: str
    """The name of the cluster, ``headcount`` by default; the same on all nodes."""
    key: "Buffer | None"
    """The secret of 16 bytes that seals frames, the same on all nodes; none by default."""
    heartbeat: float | None
    """The seconds between two signs of life: 1 by default."""
    down_after: float | None
    """The seconds of silence after which another node is down and its entries are hidden: 5 by default."""
    forget_after: float | None
    """The seconds of silence after which its entries are removed: 1,200 by default."""
    push_after: float | None
    """The seconds for which changes wait to be sent together: 0.005 by default."""
    flush: float | None
    """The seconds for which changes of this node wait to be one diff: 0.005 by default."""
    grace: float | None
    """The seconds for which entries of an owner that is lost stay: 0 by default."""
    frame_max: int | None
    """The most bytes of a frame: 262,144 by default, less where the transport takes less."""
    relay: bool
    """Whether nodes pass frames on, for transports that do not reach every node: false by default."""
    partitions: int | None
    """The number of parts that topics are spread over, a power of two: 32 by default."""
    vacate_after: float | None
    """The seconds after which a partition without entries of this node is given up: 60 by default."""
    ready_after: float | None
    """The seconds after which a topic is ready without nodes that do not answer: 5 by default."""
    mode: Literal["all", "interest"]
    """Whether a node holds the entries of all topics, or of those that it watches: ``all`` by default."""
    unwatch_after: float | None
    """The seconds for which a topic is held after its last watch: 30 by default."""
    counts: bool
    """Whether nodes tell how many entries they have in each topic: false by default."""


class NatsOptions(TypedDict, total=False):
    """The options of a connection to NATS servers."""

    credentials: str | os.PathLike[str] | None
    """A file of credentials, as `nsc` writes it."""
    user: str | None
    password: str | None
    token: str | None
    nkey: str | None
    """The seed of an NKey."""
    tls: bool
    """Whether a connection without TLS is refused. It is too with any of the options below."""
    tls_first: bool
    """Whether TLS begins before the server speaks (its option ``handshake_first``)."""
    tls_ca: str | os.PathLike[str] | None
    """A file of root certificates, instead of those of the system."""
    tls_cert: str | os.PathLike[str] | None
    """A file with the certificate of this client; `tls_key` has its key."""
    tls_key: str | os.PathLike[str] | None


class ConnectOptions(PresenceOptions, NatsOptions, total=False):
    """The options of `connect`: those of a `Presence`, and those of a connection to NATS."""


class Traffic(TypedDict):
    """An amount of frames."""

    frames: int
    bytes: int


class Peer(TypedDict):
    """How far a node is behind another one."""

    name: str
    up: bool
    silence: float
    """The seconds since it was last heard: normally at most one heartbeat."""
    partitions_behind: int
    """The partitions of which something is missing: each one is asked for."""


class Stats(TypedDict):
    """What a node holds now, and the counts of what happened since its start."""

    entries: int
    """The entries of all nodes, hidden ones included."""
    topics: int
    peers: list[Peer]
    """The other nodes that are known."""
    leave_log_bytes: int
    """The bytes of the leaves that are remembered for nodes that missed them."""
    diffs_bytes: int
    """The bytes of the changes that wait to be handed to subscribers."""
    frames: int
    """The frames that wait to be handed to the transport."""
    replicas_up: int
    replicas_down: int
    subscriptions: int
    """The open subscriptions, with two that the node itself reads to log events and refusals."""
    watches: int
    """The watches of topics, and of their counts, that have not ended."""
    waiting_max: int
    """The items that wait for the slowest subscriber."""
    lagged: int
    """The times that a subscriber was too slow and lost items."""
    sent: dict[str, Traffic]
    """The frames sent, by kind: ``pull`` counts the requests for missing changes."""
    unsent: int
    """The frames that NATS could not take, for want of a connection or because it refused them."""
    received: dict[str, Traffic]
    """The frames received, by kind: ``repair`` counts the states of whole partitions."""
    refused: dict[str, int]
    """The frames refused, by reason: the `kind` of a `DecodeError`."""
    refused_entries: int
    divergences: int
    ups: int
    """The times that another node was heard, new or again."""
    downs: int
    """The times that another node fell silent."""
    transport_errors: int
