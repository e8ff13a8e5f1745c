//! The frames a viewer is sent, and their texts and bytes.

pub(crate) mod binary;
pub(crate) mod checksum;
pub(crate) mod json;
pub(crate) mod model;
