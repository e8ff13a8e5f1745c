//! What writes note for the next tick: the rows they touched, and the members.

pub(crate) mod members;
pub(crate) mod rows;
