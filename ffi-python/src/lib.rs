//! The extension under the Python package `headcount`.
