"""The effects of writes on a `MemberList`, from the compiled half."""

from headcount._headcount import BatchReport, BulkReport, Upsert

__all__ = ["BatchReport", "BulkReport", "Upsert"]
