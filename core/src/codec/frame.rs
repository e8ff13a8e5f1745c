//! The envelope of a frame: 16 bytes of header, the partition where one follows, the body, a
//! checksum or MAC.

use std::fmt;

use siphasher::sip128::{Hasher128, SipHasher24};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::shape::{Mode, Shape};
use super::{DecodeError, DecodeErrorKind};
use crate::fault::{Fault, is_broken};

/// Major version of the wire format. Frames of another major version are refused.
pub const WIRE_MAJOR: u8 = 2;

/// Minor version of the wire format. Frames of any minor version are read.
pub const WIRE_MINOR: u8 = 0;

const MAGIC: [u8; 2] = *b"HC";
const HEADER_LEN: usize = 16;
const PARTITION_LEN: usize = 4;
const CHECKSUM_LEN: usize = 8;
const MAC_LEN: usize = 16;
const FLAG_MAC: u8 = 1;
const FLAG_PARTITION: u8 = 2;
const FLAG_INTEREST: u8 = 4;
const FLAG_COUNTS: u8 = 8;
const FLAG_RELAY: u8 = 16;
const FLAGS: u8 = FLAG_MAC | FLAG_PARTITION | FLAG_INTEREST | FLAG_COUNTS | FLAG_RELAY;
/// The offset of the logarithm of the number of partitions.
const SHAPE_AT: usize = 6;

/// The kind of a frame's body. It is a number, not a closed set: receivers skip unknown kinds by
/// their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u8);

impl Kind {
    /// A replica introduces itself.
    pub const HELLO: Self = Self(1);
    /// The heartbeat of a replica: the version and the hash of its index, and the sum of its positions.
    pub const BEAT: Self = Self(2);
    /// Operations in one partition between two clocks.
    pub const DELTA: Self = Self(3);
    /// Questions for partitions of the receiver.
    pub const PULL: Self = Self(4);
    /// The state of one partition relative to a base clock.
    pub const REPAIR: Self = Self(5);
    /// One part of a long answer.
    pub const PART: Self = Self(6);
    /// A request for parts of a long answer.
    pub const PULL_PARTS: Self = Self(7);
    /// A graceful leave.
    pub const GOODBYE: Self = Self(8);
    /// Tells a replica that a later start of its name is known.
    pub const SUPERSEDED: Self = Self(9);
    /// A short-lived sign such as typing.
    pub const SIGNAL: Self = Self(10);
    /// Changes of the set of partitions in which the sender has entries.
    pub const INDEX: Self = Self(12);
    /// The whole set of partitions in which the sender has entries.
    pub const INDEX_FULL: Self = Self(13);
    /// A request for the index of the receiver.
    pub const INDEX_PULL: Self = Self(14);
    /// Answers that the asker misses nothing.
    pub const SAME: Self = Self(15);
    /// Several answers in one frame.
    pub const BUNDLE: Self = Self(16);
    /// The position of one partition.
    pub const ROW: Self = Self(17);
    /// A request for the positions that changed since a Beat.
    pub const ASK: Self = Self(18);
    /// The positions that changed since a Beat.
    pub const ROWS: Self = Self(19);
    /// Answers that what was asked for is longer than a frame.
    pub const TOO_LONG: Self = Self(20);
    /// Warns the receiver that more is known of it than it says.
    pub const HEARD: Self = Self(22);
    /// A frame to one replica that others pass on.
    pub const RELAYED: Self = Self(23);
    /// A snapshot of the own entries of a presence.
    pub const SNAPSHOT: Self = Self(32);
    /// A bundle of frames of a member list, in format 1.
    pub const LIST_BUNDLE: Self = Self(33);
    /// Operations of one origin, between trackers.
    pub const STATE_DELTA: Self = Self(34);
    /// The state of one origin, between trackers.
    pub const STATE_REPAIR: Self = Self(35);
    /// A bundle of frames of a member list, in format 2.
    pub const LIST_BUNDLE_2: Self = Self(36);

    /// Returns the kind that a frame says it is of, unchecked; 0 for bytes that are too short.
    #[must_use]
    pub fn of(frame: &[u8]) -> Self {
        Self(frame.get(4).copied().unwrap_or(0))
    }

    /// Returns the name of the kind as one word of snake case, `other` for an unknown one.
    ///
    /// ```
    /// assert_eq!(headcount::codec::Kind::PULL.name(), "pull");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HELLO => "hello",
            Self::BEAT => "beat",
            Self::DELTA => "delta",
            Self::PULL => "pull",
            Self::REPAIR => "repair",
            Self::PART => "part",
            Self::PULL_PARTS => "pull_parts",
            Self::GOODBYE => "goodbye",
            Self::SUPERSEDED => "superseded",
            Self::SIGNAL => "signal",
            Self::INDEX => "index",
            Self::INDEX_FULL => "index_full",
            Self::INDEX_PULL => "index_pull",
            Self::SAME => "same",
            Self::BUNDLE => "bundle",
            Self::ROW => "row",
            Self::ASK => "ask",
            Self::ROWS => "rows",
            Self::TOO_LONG => "too_long",
            Self::HEARD => "heard",
            Self::RELAYED => "relayed",
            Self::SNAPSHOT => "snapshot",
            Self::LIST_BUNDLE => "list_bundle",
            Self::STATE_DELTA => "state_delta",
            Self::STATE_REPAIR => "state_repair",
            Self::LIST_BUNDLE_2 => "list_bundle_2",
            _ => "other",
        }
    }
}

/// A secret shared by all nodes of a cluster. Frames then carry a keyed MAC (SipHash-2-4, 128 bits)
/// instead of a checksum.
#[derive(Clone)]
pub struct SharedKey([u8; 16]);

impl SharedKey {
    /// Makes a key from 16 secret bytes.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

/// The most bytes that [`Envelope::seal`] adds to a body.
pub const FRAME_OVERHEAD_MAX: usize = HEADER_LEN + PARTITION_LEN + MAC_LEN;

/// The reason why an [`Envelope`] did not open a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// It has no valid seal of this cluster: nothing that it says is believed.
    Unsealed(DecodeError),
    /// It is of this cluster, but of a node that was given another shape.
    OtherShape(Shape),
    /// It is sealed and does not keep to the format.
    Malformed(DecodeError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DecodeError::from(self.clone()).fmt(f)
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unsealed(error) | Self::Malformed(error) => Some(error),
            Self::OtherShape(_) => None,
        }
    }
}

impl From<OpenError> for DecodeError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unsealed(error) | OpenError::Malformed(error) => error,
            OpenError::OtherShape(theirs) => {
                Self::new(SHAPE_AT, DecodeErrorKind::OtherShape { theirs })
            }
        }
    }
}

/// A frame whose seal is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The kind of its body.
    pub kind: Kind,
    /// The partition that the frame concerns, if the header names one.
    pub partition: Option<u16>,
    /// The body.
    pub body: &'a [u8],
    /// The offset of the body in the frame.
    pub body_at: usize,
}

/// Seals bodies into frames of one cluster and opens such frames.
///
/// The default is that of bytes that stay outside of clusters, states of trackers and snapshots: no
/// name, no key, one partition.
///
/// ```
/// use headcount::codec::{Envelope, Kind};
/// use headcount::replica::Shape;
/// let envelope = Envelope::new("chat", None, Shape::default());
/// let frame = envelope.seal(Kind::DELTA, Some(3), b"body");
/// let opened = envelope.open(&frame)?;
/// assert_eq!((opened.kind, opened.partition), (Kind::DELTA, Some(3)));
/// assert_eq!(opened.body, b"body");
/// # Ok::<(), headcount::codec::OpenError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The hash of the whole name of the cluster.
    cluster: u64,
    key: Option<SharedKey>,
    shape: Shape,
}

impl Default for Envelope {
    fn default() -> Self {
        Self::new("", None, Shape::single())
    }
}

impl Envelope {
    /// Makes the envelope of the cluster with a name of any length, with a MAC if there is a key.
    #[must_use]
    pub fn new(cluster: &str, key: Option<SharedKey>, shape: Shape) -> Self {
        Self {
            cluster: xxh3_64(cluster.as_bytes()),
            key,
            shape,
        }
    }

    /// Returns the shape that its frames state.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    fn cluster_bytes(&self) -> [u8; 4] {
        ((self.cluster >> 32) as u32).to_le_bytes()
    }

    fn trailer_len(&self) -> usize {
        if self.key.is_some() {
            MAC_LEN
        } else {
            CHECKSUM_LEN
        }
    }

    /// Wraps a body of less than 4 GiB into a frame. O(length).
    #[must_use]
    pub fn seal(&self, kind: Kind, partition: Option<u16>, body: &[u8]) -> Vec<u8> {
        let body_len = u32::try_from(body.len()).expect("a frame body is below 4 GiB");
        let mut frame = Vec::with_capacity(FRAME_OVERHEAD_MAX + body.len());
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(self.key.is_some(), FLAG_MAC)
            | flag(partition.is_some(), FLAG_PARTITION)
            | flag(self.shape.mode() == Mode::Interest, FLAG_INTEREST)
            | flag(self.shape.has_counts(), FLAG_COUNTS)
            | flag(self.shape.is_relayed(), FLAG_RELAY);
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&[WIRE_MAJOR, WIRE_MINOR, kind.0, flags, self.shape.bits(), 0]);
        frame.extend_from_slice(&self.cluster_bytes());
        frame.extend_from_slice(&body_len.to_le_bytes());
        if let Some(partition) = partition {
            frame.extend_from_slice(&u32::from(partition).to_le_bytes());
        }
        frame.extend_from_slice(body);
        match &self.key {
            Some(key) => frame.extend_from_slice(&self.mac(key, &frame)),
            None => frame.extend_from_slice(&self.checksum(&frame)),
        }
        frame
    }

    /// Checks a frame and returns what it wraps, without a copy. O(length).
    ///
    /// Length, magic, version, cluster and seal are checked first, then the shape and the
    /// partition.
    ///
    /// # Errors
    /// The first check that the frame does not pass.
    pub fn open<'a>(&self, frame: &'a [u8]) -> Result<Opened<'a>, OpenError> {
        let sealed = self.check_seal(frame).map_err(OpenError::Unsealed)?;
        let malformed = |what| OpenError::Malformed(DecodeError::invalid(5, what));
        let flags = frame[5];
        if flags > FLAGS || frame[7] != 0 {
            return Err(malformed("reserved header bits are set"));
        }
        let mode = if flags & FLAG_INTEREST == 0 {
            Mode::All
        } else {
            Mode::Interest
        };
        let shape = Shape::from_bits(frame[6], mode);
        let shape = shape.ok_or_else(|| malformed("there are more than 65,536 partitions"))?;
        let shape = match flags & FLAG_COUNTS {
            0 => shape,
            _ => shape
                .with_counts()
                .ok_or_else(|| malformed("a cluster of this shape has no counts"))?,
        };
        let shape = match flags & FLAG_RELAY {
            0 => shape,
            _ => shape
                .with_relay()
                .ok_or_else(|| malformed("a cluster of this shape passes no frames on"))?,
        };
        if shape != self.shape && !is_broken(Fault::AnyShape) {
            return Err(OpenError::OtherShape(shape));
        }
        let (partition, body_at) = match sealed[HEADER_LEN..].split_first_chunk() {
            Some((number, _)) if flags & FLAG_PARTITION != 0 => {
                let number = u64::from(u32::from_le_bytes(*number));
                let partition = shape.partition(number);
                let partition = partition.ok_or_else(|| malformed("there is no such partition"))?;
                (Some(partition), HEADER_LEN + PARTITION_LEN)
            }
            _ => (None, HEADER_LEN),
        };
        Ok(Opened {
            kind: Kind(frame[4]),
            partition,
            body: &sealed[body_at..],
            body_at,
        })
    }

    /// Checks everything that shows a frame to be of this cluster, and returns it without its
    /// trailer.
    fn check_seal<'a>(&self, frame: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let err = |offset, kind| Err(DecodeError::new(offset, kind));
        let Some((header, rest)) = frame.split_first_chunk::<HEADER_LEN>() else {
            return err(frame.len(), DecodeErrorKind::Truncated);
        };
        if header[..2] != MAGIC {
            return err(0, DecodeErrorKind::BadMagic);
        }
        if header[2] != WIRE_MAJOR {
            let kind = DecodeErrorKind::UnsupportedVersion {
                major: header[2],
                supported: WIRE_MAJOR,
            };
            return err(2, kind);
        }
        let flags = header[5];
        let partition_len = if flags & FLAG_PARTITION == 0 {
            0
        } else {
            PARTITION_LEN
        };
        let body_len = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
        let trailer_len = if flags & FLAG_MAC == 0 {
            CHECKSUM_LEN
        } else {
            MAC_LEN
        };
        let expected = partition_len + body_len as usize + trailer_len;
        if rest.len() < expected {
            return err(frame.len(), DecodeErrorKind::Truncated);
        }
        if rest.len() > expected {
            return err(HEADER_LEN + expected, DecodeErrorKind::TrailingBytes);
        }
        if header[8..12] != self.cluster_bytes() {
            return err(8, DecodeErrorKind::OtherCluster);
        }
        if (flags & FLAG_MAC != 0) != self.key.is_some() {
            return err(5, DecodeErrorKind::MacMismatch);
        }
        let (sealed, trailer) = frame.split_at(frame.len() - self.trailer_len());
        let is_intact = match &self.key {
            Some(key) => equal_in_constant_time(&self.mac(key, sealed), trailer),
            None => self.checksum(sealed) == trailer,
        };
        if !is_intact {
            return err(sealed.len(), DecodeErrorKind::BadChecksum);
        }
        Ok(sealed)
    }

    fn checksum(&self, bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
        xxh3_64_with_seed(bytes, self.cluster).to_le_bytes()
    }

    fn mac(&self, key: &SharedKey, bytes: &[u8]) -> [u8; MAC_LEN] {
        mac_of_parts(key, &[&self.cluster.to_le_bytes(), bytes])
    }
}

/// Returns the keyed MAC of several byte slices, one after the other.
fn mac_of_parts(key: &SharedKey, parts: &[&[u8]]) -> [u8; MAC_LEN] {
    let mut hasher = SipHasher24::new_with_key(&key.0);
    for part in parts {
        std::hash::Hasher::write(&mut hasher, part);
    }
    hasher.finish128().as_bytes()
}

fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(cluster: &str, key: Option<u8>) -> Envelope {
        let key = key.map(|byte| SharedKey::new([byte; 16]));
        Envelope::new(cluster, key, Shape::default())
    }

    #[track_caller]
    fn check(sealer: &Envelope, opener: &Envelope, expected: Option<&DecodeErrorKind>) {
        let frame = sealer.seal(Kind::DELTA, Some(3), b"some body");
        let kind = match opener.open(&frame) {
            Ok(opened) => {
                assert_eq!(
                    (opened.partition, opened.body),
                    (Some(3), &b"some body"[..])
                );
                assert_eq!(&frame[opened.body_at..][..9], b"some body");
                None
            }
            Err(OpenError::Unsealed(error)) => Some(error.kind),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(kind.as_ref(), expected);
    }

    #[test]
    fn each_kind_has_its_number_and_its_name() {
        let source = include_str!("frame.rs").lines().map(str::trim_start);
        let is_kind =
            |line: &&str| line.starts_with("pub const") && line.contains(": Self = Self(");
        let constants = source.filter(is_kind).count();
        let names = (0..=u8::MAX).map(|kind| Kind(kind).name());
        let names: Vec<_> = names.filter(|name| *name != "other").collect();
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!((names.len(), distinct.len()), (constants, constants));
    }

    #[test]
    fn only_the_same_cluster_and_key_open_a_frame() {
        let plain = envelope("eu", None);
        check(&plain, &plain, None);
        check(&envelope("eu", Some(1)), &envelope("eu", Some(1)), None);
        let bad = Some(&DecodeErrorKind::BadChecksum);
        check(&envelope("eu", Some(1)), &envelope("eu", Some(2)), bad);
        let mismatch = Some(&DecodeErrorKind::MacMismatch);
        check(&plain, &envelope("eu", Some(2)), mismatch);
        check(&envelope("eu", Some(1)), &plain, mismatch);
        let other = Some(&DecodeErrorKind::OtherCluster);
        check(&plain, &envelope("us", None), other);
    }

    /// The header has 32 bits of the hash of a name; all 64 decide.
    #[test]
    fn names_that_share_the_hash_of_the_header_are_still_other_clusters() {
        let mut twin = envelope("eu", None);
        twin.cluster ^= 1;
        check(
            &envelope("eu", None),
            &twin,
            Some(&DecodeErrorKind::BadChecksum),
        );
        let mut twin = envelope("eu", Some(1));
        twin.cluster ^= 1;
        let bad = Some(&DecodeErrorKind::BadChecksum);
        check(&envelope("eu", Some(1)), &twin, bad);
    }

    #[test]
    fn a_sealed_frame_of_another_shape_names_that_shape() {
        let ours = envelope("eu", None);
        let interest = Shape::new(32, Mode::Interest).unwrap();
        let shapes = [
            Shape::new(64, Mode::All).unwrap(),
            Shape::default().with_relay().unwrap(),
            interest,
            interest.with_counts().unwrap(),
        ];
        for shape in shapes {
            let theirs = Envelope::new("eu", None, shape);
            let frame = theirs.seal(Kind::HELLO, None, b"x");
            assert_eq!(ours.open(&frame), Err(OpenError::OtherShape(shape)));
            // The shape is believed only of frames with a valid seal.
            let mut damaged = frame.clone();
            *damaged.last_mut().unwrap() ^= 1;
            let refused = ours.open(&damaged);
            assert!(
                matches!(refused, Err(OpenError::Unsealed(_))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn counts_and_relay_of_a_cluster_that_has_none_are_malformed() {
        let envelope = envelope("eu", None);
        let sealed = envelope.seal(Kind::HELLO, None, b"x");
        for flags in [FLAG_COUNTS, FLAG_INTEREST | FLAG_RELAY, 2 * FLAG_RELAY] {
            let mut frame = sealed[..sealed.len() - CHECKSUM_LEN].to_vec();
            frame[5] |= flags;
            let checksum = envelope.checksum(&frame);
            frame.extend_from_slice(&checksum);
            let refused = envelope.open(&frame);
            assert!(
                matches!(refused, Err(OpenError::Malformed(_))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        for envelope in [envelope("", None), envelope("x", Some(7))] {
            let frame = envelope.seal(Kind::REPAIR, Some(1), b"body of some length");
            for bit in 0..frame.len() * 8 {
                let mut bad = frame.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let refused = envelope.open(&bad);
                let is_unsealed = matches!(refused, Err(OpenError::Unsealed(_)));
                // The minor version is not checked, but sealed.
                assert!(is_unsealed, "bit {bit}: {refused:?}");
            }
            for len in 0..frame.len() {
                assert!(envelope.open(&frame[..len]).is_err(), "cut to {len}");
            }
        }
    }

    #[test]
    fn a_partition_beyond_the_shape_is_malformed() {
        let envelope = envelope("eu", None);
        let frame = envelope.seal(Kind::DELTA, Some(32), b"");
        let refused = envelope.open(&frame);
        assert!(
            matches!(refused, Err(OpenError::Malformed(_))),
            "{refused:?}"
        );
    }
}
