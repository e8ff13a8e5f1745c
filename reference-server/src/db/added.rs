//! `Added`: the result of adding a row of which there may be a number, each of another name.

/// The result of adding something that has a name.
#[derive(Debug)]
pub(crate) enum Added<T> {
    New(T),
    /// There is one whose name looks the same.
    Taken,
    /// There are as many as may be.
    Full,
    /// The server to which it was to be added is gone.
    NoServer,
    /// The server has no such category.
    NoCategory,
}

impl<T> Added<T> {
    /// Returns what was added.
    pub(crate) fn added(self) -> Option<T> {
        match self {
            Self::New(new) => Some(new),
            Self::Taken | Self::Full | Self::NoServer | Self::NoCategory => None,
        }
    }
}

impl<T> From<Option<T>> for Added<T> {
    /// Takes no row for one whose name is taken.
    fn from(inserted: Option<T>) -> Self {
        inserted.map_or(Self::Taken, Self::New)
    }
}
