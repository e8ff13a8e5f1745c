//! The sources of the bodies of rows: [`RowSource`] and [`Bodies`].

use std::fmt;

use crate::member_list::changes::members::Fields;

/// Gives the bodies of members; the list itself stores none.
///
/// ```
/// use headcount::member_list::{Fields, RowSource};
///
/// struct Names(Vec<&'static str>);
///
/// impl RowSource<u64> for Names {
///     fn write_body(&self, id: &u64, _fields: Fields, out: &mut Vec<u8>) {
///         if let Some(name) = self.0.get(*id as usize) {
///             out.extend_from_slice(format!(r#"{{"name":"{name}"}}"#).as_bytes());
///         }
///     }
/// }
/// ```
pub trait RowSource<I> {
    /// Appends the body of `id` to `out`: the whole of it for [`Fields::ALL`], else an object with
    /// at least the named fields, `null` for one the body no longer has. Appending nothing says
    /// that the member has no body.
    ///
    /// Called once for each row of a frame, however many viewers get the frame.
    fn write_body(&self, id: &I, fields: Fields, out: &mut Vec<u8>);

    /// Returns the format of the bytes. JSON by default.
    fn format(&self) -> BodyFormat {
        BodyFormat::Json
    }
}

/// The format of the bytes of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyFormat {
    /// One valid JSON value: JSON frames carry it as it is. Objects can be patched.
    #[default]
    Json,
    /// Any bytes: base64 in JSON frames, always sent whole.
    Raw,
}

/// The bodies of a list's rows.
#[derive(Default)]
pub enum Bodies<'a, I> {
    /// Rows have ids, revisions and attrs only.
    #[default]
    None,
    /// The list's own payloads.
    Payloads(BodyFormat),
    /// Whatever this gives.
    Source(&'a dyn RowSource<I>),
}

impl<I> Clone for Bodies<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Bodies<'_, I> {}

impl<I> fmt::Debug for Bodies<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Payloads(format) => write!(f, "Payloads({format:?})"),
            Self::Source(source) => write!(f, "Source({:?})", source.format()),
        }
    }
}

impl<'a, I, S: RowSource<I>> From<&'a S> for Bodies<'a, I> {
    fn from(source: &'a S) -> Self {
        Self::Source(source)
    }
}

/// [`Bodies`] that several threads may ask for at the same time.
#[derive(Default)]
pub enum SharedBodies<'a, I> {
    /// Rows have ids, revisions and attrs only.
    #[default]
    None,
    /// The list's own payloads.
    Payloads(BodyFormat),
    /// Whatever this gives.
    Source(&'a (dyn RowSource<I> + Sync)),
}

impl<I> Clone for SharedBodies<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for SharedBodies<'_, I> {}

impl<I> fmt::Debug for SharedBodies<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bodies::from(*self).fmt(f)
    }
}

impl<'a, I, S: RowSource<I> + Sync> From<&'a S> for SharedBodies<'a, I> {
    fn from(source: &'a S) -> Self {
        Self::Source(source)
    }
}

impl<'a, I> From<SharedBodies<'a, I>> for Bodies<'a, I> {
    fn from(bodies: SharedBodies<'a, I>) -> Self {
        match bodies {
            SharedBodies::None => Self::None,
            SharedBodies::Payloads(format) => Self::Payloads(format),
            SharedBodies::Source(source) => Self::Source(source),
        }
    }
}
