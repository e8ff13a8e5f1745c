//! The error of decoding: what was wrong with the bytes, and where.

use std::fmt;

use super::shape::Shape;

/// The reason why bytes were refused, and the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Offset in bytes from the start of the input.
    pub offset: usize,
    /// The rule that the bytes break there.
    pub kind: DecodeErrorKind,
}

/// A rule of the format that bytes broke.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends inside a value.
    Truncated,
    /// Bytes remain after the last value.
    TrailingBytes,
    /// The first bytes are not those of a headcount frame.
    BadMagic,
    /// The frame speaks another major version of the wire format.
    UnsupportedVersion {
        /// Major version of the frame.
        major: u8,
        /// The only major version this build speaks.
        supported: u8,
    },
    /// The checksum or the keyed MAC does not match.
    BadChecksum,
    /// The frame belongs to another cluster.
    OtherCluster,
    /// The frame carries a MAC but no key is set, or the other way round.
    MacMismatch,
    /// The frame is of this cluster, but its sender has another number of partitions, or another
    /// mode.
    OtherShape {
        /// The shape of the sender.
        theirs: Shape,
    },
    /// The frame is of another kind than expected.
    UnexpectedKind {
        /// The kind found.
        kind: u8,
    },
    /// An integer is not in its shortest form or out of its range.
    BadInteger,
    /// Text is not valid UTF-8.
    BadUtf8,
    /// A length is above its limit.
    TooLong {
        /// The length found.
        len: u64,
        /// The largest allowed.
        max: u64,
    },
    /// Text is not JSON, or not JSON of the expected shape.
    Json {
        /// The fault, in words.
        what: Box<str>,
    },
    /// A value breaks a rule of the format.
    Invalid {
        /// The rule, in words.
        what: &'static str,
    },
}

impl DecodeErrorKind {
    /// Returns the name of the rule as one word of snake case.
    ///
    /// ```
    /// use headcount::codec::DecodeErrorKind;
    /// assert_eq!(DecodeErrorKind::BadChecksum.name(), "bad_checksum");
    /// ```
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::TrailingBytes => "trailing_bytes",
            Self::BadMagic => "bad_magic",
            Self::UnsupportedVersion { .. } => "unsupported_version",
            Self::BadChecksum => "bad_checksum",
            Self::OtherCluster => "other_cluster",
            Self::MacMismatch => "mac_mismatch",
            Self::OtherShape { .. } => "other_shape",
            Self::UnexpectedKind { .. } => "unexpected_kind",
            Self::BadInteger => "bad_integer",
            Self::BadUtf8 => "bad_utf8",
            Self::TooLong { .. } => "too_long",
            Self::Json { .. } => "json",
            Self::Invalid { .. } => "invalid",
        }
    }
}

impl DecodeErrorKind {
    /// Returns the rule in words, or its name.
    pub(crate) fn rule(&self) -> &'static str {
        match self {
            Self::Invalid { what } => what,
            kind => kind.name(),
        }
    }
}

impl DecodeError {
    pub(crate) fn new(offset: usize, kind: DecodeErrorKind) -> Self {
        Self { offset, kind }
    }

    pub(crate) fn invalid(offset: usize, what: &'static str) -> Self {
        Self::new(offset, DecodeErrorKind::Invalid { what })
    }

    /// Moves the error `by` bytes further into the input.
    #[must_use]
    pub(crate) fn shifted(mut self, by: usize) -> Self {
        self.offset += by;
        self
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the input ends inside a value"),
            Self::TrailingBytes => write!(f, "bytes remain after the last value"),
            Self::BadMagic => write!(f, "not a headcount frame"),
            Self::UnsupportedVersion { major, supported } => {
                write!(
                    f,
                    "wire version {major} is not supported, only {supported} is"
                )
            }
            Self::BadChecksum => write!(f, "the checksum does not match"),
            Self::OtherCluster => write!(f, "the frame belongs to another cluster"),
            Self::MacMismatch => write!(f, "only one of the two sides uses a shared key"),
            Self::OtherShape { theirs } => write!(f, "the sender has {theirs}"),
            Self::UnexpectedKind { kind } => write!(f, "unexpected frame kind {kind}"),
            Self::BadInteger => write!(f, "an integer is not minimal or out of range"),
            Self::BadUtf8 => write!(f, "text is not valid UTF-8"),
            Self::TooLong { len, max } => write!(f, "length {len} is above the limit of {max}"),
            Self::Json { what } => write!(f, "{what}"),
            Self::Invalid { what } => write!(f, "{what}"),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.kind)
    }
}

impl std::error::Error for DecodeError {}
