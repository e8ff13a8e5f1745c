//! One binary for all integration tests: each extra one is a link.
#![allow(missing_docs)]

mod tidy;
