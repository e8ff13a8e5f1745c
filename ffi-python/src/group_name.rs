//! The name of a group in rows.

use std::sync::Arc;

use arrayvec::ArrayString;

/// The longest name that a row holds in place.
const SHORT_LEN: usize = 20;

/// The name of a group as rows copy it: in place if it is short, because that is cheaper than to count references with
/// other threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupName {
    Short(ArrayString<SHORT_LEN>),
    Long(Arc<str>),
}

impl GroupName {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Short(name) => name,
            Self::Long(name) => name,
        }
    }
}

impl From<&str> for GroupName {
    fn from(name: &str) -> Self {
        ArrayString::from(name).map_or_else(|_| Self::Long(name.into()), Self::Short)
    }
}
