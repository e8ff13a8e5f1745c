"""The classes of the compiled half that show the members of a table in many lists."""

from headcount._headcount import (
    Clause,
    ListMove,
    ListSpec,
    ListView,
    MemberTable,
    TableBatchReport,
    TableMember,
    TableTick,
    TableUpsert,
)

__all__ = [
    "Clause",
    "ListMove",
    "ListSpec",
    "ListView",
    "MemberTable",
    "TableBatchReport",
    "TableMember",
    "TableTick",
    "TableUpsert",
]
