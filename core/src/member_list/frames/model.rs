//! The frames a viewer is sent: [`Bundle`], [`Frame`], [`FrameRow`] and [`Counts`].
//!
//! These are the values; their bytes are made by the encoders and read by `decode` and the clients.
//! Meaning and rules: `core/docs/list-frames.md`.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

#[cfg(feature = "serde")]
use crate::member_list::Id;
use crate::member_list::ListError;
use crate::member_list::limits::{BODY_DEPTH_MAX, BUNDLE_NAME_MAX};

/// The frames and counts that one viewer gets at once; atomic for it.
///
/// ```
/// use headcount::member_list::{Bundle, BundleFormat};
/// use headcount::{Bodies, ListOptions, MemberList, Viewer, WindowSpec};
///
/// let mut list = MemberList::<u64>::new(ListOptions::default());
/// list.begin_epoch("room:7", 1)?;
/// let bundle = Viewer::new().open(&mut list, WindowSpec::Chunk(0), Bodies::None)?;
/// assert_eq!(&*bundle.list, "room:7");
/// let bytes = bundle.to_binary_in(BundleFormat::Two);
/// assert_eq!(Bundle::<u64>::from_binary(&bytes)?, bundle);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = "I: Id"))]
pub struct Bundle<I> {
    /// Name of the list.
    pub list: Arc<str>,
    /// The node, and a number that grows whenever it rebuilds or redefines the list.
    pub epoch: Epoch,
    /// List version the bundle was made at.
    pub version: u64,
    /// Frames, to be applied in this order; shared with the other viewers of the same windows.
    pub frames: Vec<Arc<Shared<Frame<I>>>>,
    /// Totals and groups, if the bundle has them.
    pub counts: Option<Arc<Shared<Counts>>>,
    /// Windows whose rows did not change but slid.
    pub bases: Vec<Base>,
    /// The windows that the viewer has from now on, and the versions that it was sent of them, so
    /// that its client notices any lost frame.
    pub windows: Vec<WindowVersion>,
}

impl<I> Bundle<I> {
    /// Returns whether there is nothing to show in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.counts.is_none() && self.bases.is_empty()
    }
}

/// A window of a viewer, and the version of the last rows that it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WindowVersion {
    /// Name of the window.
    pub window: Arc<str>,
    /// Version of its rows; `None` in a bundle that was read in format 1, which does not say it.
    pub version: Option<u64>,
}

/// The format of an encoded bundle. A reader takes both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BundleFormat {
    /// The epoch is a number, and windows have names only.
    #[default]
    One,
    /// The epoch has a node, and windows have versions. Clients of format 1 refuse it.
    Two,
}

/// A span of time in which the versions of a list are comparable. Epochs are ordered by number
/// within one node, and not at all between two.
///
/// ```
/// use headcount::member_list::Epoch;
///
/// let epoch = Epoch::new("node-1", 1_790_000_000_000);
/// assert_eq!((&*epoch.node, epoch.number), ("node-1", 1_790_000_000_000));
/// assert_eq!(Epoch::from(7), Epoch::new("", 7));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Epoch {
    /// The node that serves the list, at most 1,024 bytes; empty where there is only one.
    pub node: Arc<str>,
    /// Grows whenever the node rebuilds, loads or redefines the list, and is never used twice:
    /// milliseconds of a clock at the start. At most 2^53 - 1.
    pub number: u64,
}

impl Epoch {
    /// Makes an epoch of a node. O(length of the name).
    #[must_use]
    pub fn new(node: &str, number: u64) -> Self {
        let node = node.into();
        Self { node, number }
    }

    /// Checks that bundles can carry it, and that its number is at most `max`.
    pub(crate) fn check(&self, max: u64) -> Result<(), ListError> {
        let len = self.node.len();
        if len > BUNDLE_NAME_MAX {
            let max = BUNDLE_NAME_MAX;
            return Err(ListError::NodeNameTooLong { len, max });
        }
        let epoch = self.number;
        if epoch > max {
            return Err(ListError::EpochTooHigh { epoch, max });
        }
        Ok(())
    }
}

impl From<u64> for Epoch {
    fn from(number: u64) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }
}

/// A window as a client held it when its connection ended; see
/// [`Viewer::resume`](crate::member_list::Viewer::resume).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HeldWindow {
    /// Its canonical name.
    pub window: Arc<str>,
    /// The epoch of its rows.
    pub epoch: Epoch,
    /// The version of its rows; 0 if it has none yet.
    pub version: u64,
}

/// New place of a window whose rows did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Base {
    /// Name of the window.
    pub window: Arc<str>,
    /// Absolute index of its first row.
    pub base_index: u64,
}

/// One step of one window.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = "I: Id"))]
pub struct Frame<I> {
    /// Name under which the client holds the window.
    pub window: Arc<str>,
    /// Name of the window from this frame on, when its anchor was replaced.
    pub renamed: Option<Arc<str>>,
    /// Version the frame starts from; 0 in a SYNC.
    pub base_version: u64,
    /// Version of the window afterwards.
    pub new_version: u64,
    /// Absolute index of the first row afterwards.
    pub base_index: u64,
    /// The members that match, on all pages, in the window of a search.
    #[cfg_attr(feature = "serde", serde(default))]
    pub matches: Option<u64>,
    /// CRC-32 (IEEE) of the window afterwards, see [`Checksum`](crate::member_list::Checksum).
    pub checksum32: u32,
    /// The change of the rows.
    pub change: FrameChange<I>,
    /// Whole rows of `updates` and `move`s by index, for protocols that cannot patch. Not on the
    /// wire; empty unless a viewer of the window speaks such a protocol.
    #[cfg_attr(feature = "serde", serde(skip, default = "Vec::new"))]
    pub(crate) whole_rows: Vec<(u32, FrameRow<I>)>,
}

/// The change that a frame makes to the rows of its window.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = "I: Id"))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum FrameChange<I> {
    /// SYNC: the window becomes these rows.
    Sync(Vec<FrameRow<I>>),
    /// DELTA: three phases, in this order.
    Delta {
        /// Positions in the old rows, strictly descending.
        deletes: Vec<u32>,
        /// Positions in the new rows, strictly ascending.
        inserts: Vec<Insert<I>>,
        /// Positions in the new rows, strictly ascending, of rows neither deleted nor inserted.
        updates: Vec<RowUpdate>,
    },
}

/// The identity of a row: the group of a header, or the id of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = "I: Id"))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum RowKey<I> {
    /// The header row of the group of this name.
    Header(Arc<str>),
    /// The row of a member.
    Member(#[cfg_attr(feature = "serde", serde(with = "crate::member_list::id::serde_form"))] I),
}

/// A whole row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = "I: Id"))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum FrameRow<I> {
    /// Header of a group.
    Header {
        /// Name of the group.
        group: Arc<str>,
        /// Its members.
        count: u32,
    },
    /// A member.
    Member {
        /// Its id.
        #[cfg_attr(feature = "serde", serde(with = "crate::member_list::id::serde_form"))]
        id: I,
        /// Its revision.
        revision: u32,
        /// Its attribute bits.
        attrs: u32,
        /// Its body; `None` when the list has none.
        body: Option<Body>,
    },
}

/// A row that comes into the window or to another place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = "I: Id"))]
pub struct Insert<I> {
    /// Position in the new rows.
    pub index: u32,
    /// The source of its content.
    pub source: InsertSource<I>,
}

/// The source of the content of an inserted row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = "I: Id"))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum InsertSource<I> {
    /// It is here, whole.
    Row(FrameRow<I>),
    /// It was deleted earlier in this frame; no body travels.
    Move {
        /// The member.
        #[cfg_attr(feature = "serde", serde(with = "crate::member_list::id::serde_form"))]
        id: I,
        /// The change of its content, if there is one.
        change: Option<MemberChange>,
    },
}

/// A kept row whose content changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RowUpdate {
    /// Position in the new rows.
    pub index: u32,
    /// The change.
    pub change: RowChange,
}

/// The change of the content of a kept row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum RowChange {
    /// A header: the new count.
    Count(u32),
    /// A member.
    Member(MemberChange),
}

/// The change of the content of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemberChange {
    /// New revision.
    pub revision: u32,
    /// New attribute bits, if they changed.
    pub attrs: Option<u32>,
    /// The change of the body.
    pub body: BodyChange,
}

/// The change of the body of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum BodyChange {
    /// It did not.
    Same,
    /// A JSON object to lay over it, top level only; `null` removes a field.
    Patch(#[cfg_attr(feature = "serde", serde(with = "crate::text_or_bytes"))] Bytes),
    /// This is the new body.
    Whole(Body),
}

/// The body of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Body {
    /// One JSON value, as text.
    Json(#[cfg_attr(feature = "serde", serde(with = "crate::text_or_bytes"))] Bytes),
    /// Plain bytes.
    Raw(#[cfg_attr(feature = "serde", serde(with = "crate::text_or_bytes"))] Bytes),
}

impl Body {
    /// Returns whether JSON nests deeper than [`BODY_DEPTH_MAX`]: readers of bundles in JSON refuse such a body. The
    /// text must be JSON. O(bytes).
    ///
    /// ```
    /// use headcount::member_list::Body;
    ///
    /// assert!(!Body::is_too_deep(&[b"[".repeat(128), b"]".repeat(128)].concat()));
    /// assert!(Body::is_too_deep(&[b"[".repeat(129), b"]".repeat(129)].concat()));
    /// assert!(!Body::is_too_deep(br#"{"text": "[[["}"#));
    /// ```
    #[must_use]
    pub fn is_too_deep(json: &[u8]) -> bool {
        let mut depth = 0_usize;
        let mut in_text = false;
        let mut bytes = json.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => drop(bytes.next()),
                b'"' => in_text = !in_text,
                b'[' | b'{' if !in_text => depth += 1,
                b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > BODY_DEPTH_MAX {
                return true;
            }
        }
        false
    }
}

/// Totals and groups.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counts {
    /// List version these counts belong to.
    pub version: u64,
    /// Length of the index space.
    pub rows: u64,
    /// Members of all groups, hidden ones included.
    pub members: u64,
    /// True if the list shows header rows.
    pub headers: bool,
    /// The groups.
    pub table: CountsTable,
}

/// The groups in [`Counts`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum CountsTable {
    /// Every group in list order.
    Full(Vec<GroupCount>),
    /// Groups whose count changed since `base_version`.
    Delta {
        /// Version of the counts this starts from.
        base_version: u64,
        /// Name of the group and its new count.
        changed: Vec<(Arc<str>, u32)>,
    },
}

/// One group in a full table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupCount {
    /// Its name.
    pub group: Arc<str>,
    /// Its members.
    pub count: u32,
    /// Out of the index space, header included.
    pub hidden: bool,
    /// Only the header is in the index space.
    pub collapsed: bool,
}

/// A value many viewers are sent, and the bytes it was encoded to: once per encoding, on demand.
///
/// Dereferences to the value.
pub struct Shared<T> {
    value: T,
    json: OnceLock<Bytes>,
    binary: OnceLock<Bytes>,
    discord: OnceLock<Bytes>,
}

impl<T> Shared<T> {
    /// Wraps a value nothing was encoded of yet.
    pub const fn new(value: T) -> Self {
        Self {
            value,
            json: OnceLock::new(),
            binary: OnceLock::new(),
            discord: OnceLock::new(),
        }
    }

    pub(crate) const fn json_cell(&self) -> &OnceLock<Bytes> {
        &self.json
    }

    pub(crate) const fn binary_cell(&self) -> &OnceLock<Bytes> {
        &self.binary
    }

    pub(crate) const fn discord_cell(&self) -> &OnceLock<Bytes> {
        &self.discord
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl Counts {
    /// Returns the version of the counts that changes start from; `None` for a full table.
    #[must_use]
    pub const fn base_version(&self) -> Option<u64> {
        match self.table {
            CountsTable::Full(_) => None,
            CountsTable::Delta { base_version, .. } => Some(base_version),
        }
    }
}

impl<I> Frame<I> {
    /// Makes a frame of these rows or steps; versions, place and checksum are 0.
    #[must_use]
    pub const fn new(window: Arc<str>, change: FrameChange<I>) -> Self {
        Self {
            window,
            renamed: None,
            base_version: 0,
            new_version: 0,
            base_index: 0,
            matches: None,
            checksum32: 0,
            change,
            whole_rows: Vec::new(),
        }
    }
}

impl<I: Clone> FrameRow<I> {
    /// Returns what identifies the row.
    pub fn key(&self) -> RowKey<I> {
        match self {
            Self::Header { group, .. } => RowKey::Header(group.clone()),
            Self::Member { id, .. } => RowKey::Member(id.clone()),
        }
    }
}
