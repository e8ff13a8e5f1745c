"""The effects of writes on a `MemberList`, and of presence on a `Roster`, from the compiled half."""

from headcount._headcount import BatchReport, BulkReport, RosterReport, Upsert

__all__ = ["BatchReport", "BulkReport", "RosterReport", "Upsert"]
