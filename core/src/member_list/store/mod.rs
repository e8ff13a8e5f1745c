//! What a list keeps of its members: ids, keys, groups, and the order of them all.

pub(crate) mod cow_vec;
pub(crate) mod groups;
pub(crate) mod id_index;
pub(crate) mod key_bytes;
pub(crate) mod key_table;
pub(crate) mod leaf;
pub(crate) mod paged_vec;
pub(crate) mod rows;
pub(crate) mod staging;
pub(crate) mod table;
