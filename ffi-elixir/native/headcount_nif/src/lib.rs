//! The NIF under the Elixir package `headcount`.
