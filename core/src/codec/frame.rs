//! The envelope of a frame: magic, wire version, kind, cluster, length, checksum or MAC.

use std::fmt;
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher24};
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{DecodeError, DecodeErrorKind};

/// Major version of the wire format. Frames of another major version are refused.
pub const WIRE_MAJOR: u8 = 1;

/// Minor version of the wire format. Frames of any minor version are read.
pub const WIRE_MINOR: u8 = 0;

/// Most bytes that an envelope adds to a body: 12 of header, 64 of cluster name, 16 of MAC.
pub const FRAME_OVERHEAD_MAX: usize = HEADER_LEN + CLUSTER_LEN_MAX + MAC_LEN;

const MAGIC: [u8; 2] = *b"HC";
const HEADER_LEN: usize = 12;
/// Longest name of a cluster in bytes.
pub const CLUSTER_LEN_MAX: usize = 64;
const CHECKSUM_LEN: usize = 8;
const MAC_LEN: usize = 16;
const FLAG_MAC: u8 = 1;

/// The kind of a frame's body. It is a number, not a closed set: receivers skip unknown kinds by
/// their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u8);

impl Kind {
    /// A node introduces itself.
    pub const HELLO: Self = Self(1);
    /// Heartbeats and clocks.
    pub const DIGEST: Self = Self(2);
    /// Operations of one origin between two clocks.
    pub const DELTA: Self = Self(3);
    /// A request for missing operations.
    pub const PULL: Self = Self(4);
    /// The state of one origin relative to a base clock.
    pub const REPAIR: Self = Self(5);
    /// One part of a large reply.
    pub const PART: Self = Self(6);
    /// A request for parts of a large reply.
    pub const PULL_PARTS: Self = Self(7);
    /// A graceful leave.
    pub const GOODBYE: Self = Self(8);
    /// Tells a node that a later incarnation of it is known.
    pub const SUPERSEDED: Self = Self(9);
    /// An ephemeral signal such as typing.
    pub const SIGNAL: Self = Self(10);
    /// Answers a frame of another major version with the supported range.
    pub const WIRE_REFUSED: Self = Self(11);
    /// A snapshot of a whole presence.
    pub const SNAPSHOT: Self = Self(32);

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
            Self::DIGEST => "digest",
            Self::DELTA => "delta",
            Self::PULL => "pull",
            Self::REPAIR => "repair",
            Self::PART => "part",
            Self::PULL_PARTS => "pull_parts",
            Self::GOODBYE => "goodbye",
            Self::SUPERSEDED => "superseded",
            Self::SIGNAL => "signal",
            Self::WIRE_REFUSED => "wire_refused",
            Self::SNAPSHOT => "snapshot",
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

/// Seals bodies into frames and opens frames, for one cluster.
///
/// ```
/// use headcount::codec::{Envelope, Kind};
/// let envelope = Envelope::default();
/// let frame = envelope.seal(Kind::HELLO, b"body");
/// let (kind, body) = envelope.open(&frame)?;
/// assert_eq!((kind, body), (Kind::HELLO, &b"body"[..]));
/// # Ok::<(), headcount::codec::DecodeError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    cluster: Option<Arc<str>>,
    key: Option<SharedKey>,
}

impl Envelope {
    /// Makes the envelope of the cluster `name`, with a MAC if there is a key. The name is cut to
    /// 64 bytes at a character boundary.
    #[must_use]
    pub fn new(name: &str, key: Option<SharedKey>) -> Self {
        let mut end = name.len().min(CLUSTER_LEN_MAX);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            cluster: (end > 0).then(|| name[..end].into()),
            key,
        }
    }

    fn cluster(&self) -> &str {
        self.cluster.as_deref().unwrap_or("")
    }

    /// Returns the number of bytes that [`seal`](Self::seal) adds to a body.
    #[must_use]
    pub fn overhead(&self) -> usize {
        HEADER_LEN + self.cluster().len() + self.trailer_len()
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
    pub fn seal(&self, kind: Kind, body: &[u8]) -> Vec<u8> {
        let cluster = self.cluster().as_bytes();
        let body_len = u32::try_from(body.len()).expect("a frame body is below 4 GiB");
        let mut frame = Vec::with_capacity(self.overhead() + body.len());
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&[WIRE_MAJOR, WIRE_MINOR, kind.0]);
        frame.push(if self.key.is_some() { FLAG_MAC } else { 0 });
        frame.extend_from_slice(&[cluster.len() as u8, 0]);
        frame.extend_from_slice(&body_len.to_le_bytes());
        frame.extend_from_slice(cluster);
        frame.extend_from_slice(body);
        match &self.key {
            Some(key) => frame.extend_from_slice(&mac(key, &frame)),
            None => frame.extend_from_slice(&xxh3_64(&frame).to_le_bytes()),
        }
        frame
    }

    /// Checks a frame and returns its kind and its body, without a copy. O(length).
    ///
    /// # Errors
    /// If the frame has another magic, major version or cluster, or a wrong length, checksum or
    /// MAC.
    pub fn open<'a>(&self, frame: &'a [u8]) -> Result<(Kind, &'a [u8]), DecodeError> {
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
        if (header[5] & FLAG_MAC != 0) != self.key.is_some() {
            return err(5, DecodeErrorKind::MacMismatch);
        }
        if header[5] > FLAG_MAC || header[7] != 0 {
            return err(
                5,
                DecodeErrorKind::Invalid {
                    what: "reserved header bits are set",
                },
            );
        }
        let cluster_len = usize::from(header[6]);
        let body_len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let expected = cluster_len + body_len + self.trailer_len();
        if rest.len() < expected {
            return err(frame.len(), DecodeErrorKind::Truncated);
        }
        if rest.len() > expected {
            return err(HEADER_LEN + expected, DecodeErrorKind::TrailingBytes);
        }
        let (sealed, trailer) = frame.split_at(frame.len() - self.trailer_len());
        let intact = match &self.key {
            Some(key) => equal_in_constant_time(&mac(key, sealed), trailer),
            None => xxh3_64(sealed).to_le_bytes() == trailer,
        };
        if !intact {
            return err(sealed.len(), DecodeErrorKind::BadChecksum);
        }
        let (cluster, body) = sealed[HEADER_LEN..].split_at(cluster_len);
        if cluster != self.cluster().as_bytes() {
            return err(HEADER_LEN, DecodeErrorKind::OtherCluster);
        }
        Ok((Kind(header[4]), body))
    }

    /// Returns the offset of the body in a frame of this cluster, which turns offsets in the body
    /// into offsets in the frame.
    #[must_use]
    pub fn body_offset(&self) -> usize {
        HEADER_LEN + self.cluster().len()
    }
}

fn mac(key: &SharedKey, bytes: &[u8]) -> [u8; MAC_LEN] {
    mac_of_parts(key, &[bytes])
}

/// Returns the keyed MAC of several byte slices, one after the other.
pub(crate) fn mac_of_parts(key: &SharedKey, parts: &[&[u8]]) -> [u8; MAC_LEN] {
    let mut hasher = SipHasher24::new_with_key(&key.0);
    for part in parts {
        std::hash::Hasher::write(&mut hasher, part);
    }
    hasher.finish128().as_bytes()
}

pub(crate) fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sealer: &Envelope, opener: &Envelope, expected: Option<&DecodeErrorKind>) {
        let frame = sealer.seal(Kind::DELTA, b"some body");
        assert_eq!(opener.open(&frame).err().map(|e| e.kind).as_ref(), expected);
    }

    #[test]
    fn only_the_same_cluster_and_key_open_a_frame() {
        let plain = Envelope::new("eu", None);
        let keyed = |b| Envelope::new("eu", Some(SharedKey::new([b; 16])));
        check(&plain, &plain, None);
        check(&keyed(1), &keyed(1), None);
        check(&keyed(1), &keyed(2), Some(&DecodeErrorKind::BadChecksum));
        check(&plain, &keyed(2), Some(&DecodeErrorKind::MacMismatch));
        check(&keyed(1), &plain, Some(&DecodeErrorKind::MacMismatch));
        check(
            &plain,
            &Envelope::new("us", None),
            Some(&DecodeErrorKind::OtherCluster),
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for envelope in [
            Envelope::default(),
            Envelope::new("x", Some(SharedKey::new([7; 16]))),
        ] {
            let frame = envelope.seal(Kind::REPAIR, b"body of some length");
            for bit in 0..frame.len() * 8 {
                let mut bad = frame.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(envelope.open(&bad).is_err(), "bit {bit}");
            }
            for len in 0..frame.len() {
                assert!(envelope.open(&frame[..len]).is_err(), "cut to {len}");
            }
        }
    }
}
