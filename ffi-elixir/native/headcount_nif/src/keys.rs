//! `Headcount.Keys`: how many keys a topic has, as bounds.

use rustler::NifStruct;

#[derive(NifStruct)]
#[module = "Headcount.Keys"]
pub(crate) struct Keys {
    at_least: usize,
    at_most: usize,
}

impl From<headcount::Keys> for Keys {
    fn from(keys: headcount::Keys) -> Self {
        Self {
            at_least: keys.at_least,
            at_most: keys.at_most,
        }
    }
}

impl From<usize> for Keys {
    /// The keys of a topic whose entries are held.
    fn from(exact: usize) -> Self {
        Self {
            at_least: exact,
            at_most: exact,
        }
    }
}
