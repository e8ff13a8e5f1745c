//! Watched windows: the rows that viewers look at, and the steps that keep them current.

pub(crate) mod base;
pub(crate) mod bodies;
pub(crate) mod counts;
pub(crate) mod diff;
pub(crate) mod handle;
pub(crate) mod history;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod open_window;
pub(crate) mod reader;
pub(crate) mod registry;
pub(crate) mod renames;
pub(crate) mod render;
pub(crate) mod resume;
pub(crate) mod row;
pub(crate) mod search;
pub(crate) mod spec;
pub(crate) mod steps;
pub(crate) mod tick;
pub(crate) mod window;
pub(crate) mod work;
