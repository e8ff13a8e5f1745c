//! Bytes of bundles: JSON, binary, Discord's events.

mod json;
