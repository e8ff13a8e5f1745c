//! What a viewer is sent, and its texts and bytes.

pub(crate) mod binary;
pub(crate) mod checksum;
pub(crate) mod json;
pub(crate) mod model;
