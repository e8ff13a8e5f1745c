"""The other end of the windows of a list."""

from headcount._headcount import BundleReport, Client, ListRequest, Window

__all__ = ["BundleReport", "Client", "ListRequest", "Window"]
