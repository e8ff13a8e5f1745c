"""The order of names in a language."""

from headcount._headcount import Collation

__all__ = ["Collation"]
