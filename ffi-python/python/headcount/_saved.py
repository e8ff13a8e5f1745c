"""The functions that pickles name: they make lists and tables of the files inside."""

from io import BytesIO
from typing import Any, Literal

from headcount._headcount import MemberList
from headcount._table import MemberTable

__all__ = ["load_list", "load_table"]


def load_list(file: bytes, payloads: Literal["json", "raw"] | None) -> MemberList[Any]:
    """Return the list of a file."""
    return MemberList.load(BytesIO(file), payloads=payloads)


def load_table(file: bytes, payloads: Literal["json", "raw"] | None) -> MemberTable[Any]:
    """Return the table of a file."""
    return MemberTable.load(BytesIO(file), payloads=payloads)
