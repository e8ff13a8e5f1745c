//! The envelope of a frame: 16 bytes of header, the partition where one follows, the body, a
//! checksum or MAC.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::shape::{Mode, Shape};
use crate::codec::{
    DecodeError, DecodeErrorKind, Kind, SharedKey, equal_in_constant_time, mac_of_parts,
};
use crate::fault::{Fault, is_broken};

/// The major version of this wire.
pub(crate) const MAJOR: u8 = 2;
const MINOR: u8 = 0;
const MAGIC: [u8; 2] = *b"HC";
pub(crate) const HEADER_LEN: usize = 16;
const PARTITION_LEN: usize = 4;
const CHECKSUM_LEN: usize = 8;
const MAC_LEN: usize = 16;
const FLAG_MAC: u8 = 1;
const FLAG_PARTITION: u8 = 2;
const FLAG_INTEREST: u8 = 4;

/// The most bytes that [`Seal::seal`] adds to a body.
pub(crate) const OVERHEAD_MAX: usize = HEADER_LEN + PARTITION_LEN + MAC_LEN;

/// The reason why a frame was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// It has no valid seal of this cluster: nothing that it says is believed.
    Unsealed(DecodeError),
    /// It is of this cluster, but of a node that was given another shape.
    OtherShape(Shape),
    /// It is sealed and does not keep to the format.
    Malformed(DecodeError),
}

/// A frame whose seal is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened<'a> {
    pub(crate) kind: Kind,
    /// The partition that the frame concerns, if the header names one.
    pub(crate) partition: Option<u16>,
    pub(crate) body: &'a [u8],
    /// The offset of the body in the frame.
    pub(crate) body_at: usize,
}

/// Seals bodies into frames of one cluster and opens such frames.
#[derive(Debug, Clone)]
pub(crate) struct Seal {
    /// The hash of the whole name of the cluster.
    cluster: u64,
    key: Option<SharedKey>,
    shape: Shape,
}

impl Seal {
    pub(crate) fn new(cluster: &str, key: Option<SharedKey>, shape: Shape) -> Self {
        Self {
            cluster: xxh3_64(cluster.as_bytes()),
            key,
            shape,
        }
    }

    pub(crate) fn shape(&self) -> Shape {
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
    pub(crate) fn seal(&self, kind: Kind, partition: Option<u16>, body: &[u8]) -> Vec<u8> {
        let body_len = u32::try_from(body.len()).expect("a frame body is below 4 GiB");
        let mut frame = Vec::with_capacity(OVERHEAD_MAX + body.len());
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(self.key.is_some(), FLAG_MAC)
            | flag(partition.is_some(), FLAG_PARTITION)
            | flag(self.shape.mode() == Mode::Interest, FLAG_INTEREST);
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&[MAJOR, MINOR, kind.0, flags, self.shape.bits(), 0]);
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
    pub(crate) fn open<'a>(&self, frame: &'a [u8]) -> Result<Opened<'a>, OpenError> {
        let sealed = self.check_seal(frame).map_err(OpenError::Unsealed)?;
        let malformed = |what| OpenError::Malformed(DecodeError::invalid(5, what));
        let flags = frame[5];
        if flags > (FLAG_MAC | FLAG_PARTITION | FLAG_INTEREST) || frame[7] != 0 {
            return Err(malformed("reserved header bits are set"));
        }
        let mode = if flags & FLAG_INTEREST == 0 {
            Mode::All
        } else {
            Mode::Interest
        };
        let Some(shape) = Shape::from_bits(frame[6], mode) else {
            return Err(malformed("there are more than 65,536 partitions"));
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
        if header[2] != MAJOR {
            let kind = DecodeErrorKind::UnsupportedVersion {
                major: header[2],
                supported: MAJOR,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(cluster: &str, key: Option<u8>) -> Seal {
        let key = key.map(|byte| SharedKey::new([byte; 16]));
        Seal::new(cluster, key, Shape::default())
    }

    #[track_caller]
    fn check(sealer: &Seal, opener: &Seal, expected: Option<&DecodeErrorKind>) {
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
    fn only_the_same_cluster_and_key_open_a_frame() {
        let plain = seal("eu", None);
        check(&plain, &plain, None);
        check(&seal("eu", Some(1)), &seal("eu", Some(1)), None);
        let bad = Some(&DecodeErrorKind::BadChecksum);
        check(&seal("eu", Some(1)), &seal("eu", Some(2)), bad);
        let mismatch = Some(&DecodeErrorKind::MacMismatch);
        check(&plain, &seal("eu", Some(2)), mismatch);
        check(&seal("eu", Some(1)), &plain, mismatch);
        let other = Some(&DecodeErrorKind::OtherCluster);
        check(&plain, &seal("us", None), other);
    }

    /// The header has 32 bits of the hash of a name; all 64 decide.
    #[test]
    fn names_that_share_the_hash_of_the_header_are_still_other_clusters() {
        let mut twin = seal("eu", None);
        twin.cluster ^= 1;
        check(
            &seal("eu", None),
            &twin,
            Some(&DecodeErrorKind::BadChecksum),
        );
        let mut twin = seal("eu", Some(1));
        twin.cluster ^= 1;
        let bad = Some(&DecodeErrorKind::BadChecksum);
        check(&seal("eu", Some(1)), &twin, bad);
    }

    #[test]
    fn a_sealed_frame_of_another_shape_names_that_shape() {
        let ours = seal("eu", None);
        let shapes = [(64, Mode::All), (32, Mode::Interest)];
        for (partitions, mode) in shapes {
            let shape = Shape::new(partitions, mode).unwrap();
            let theirs = Seal::new("eu", None, shape);
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
    fn every_flipped_bit_and_every_cut_is_noticed() {
        for seal in [seal("", None), seal("x", Some(7))] {
            let frame = seal.seal(Kind::REPAIR, Some(1), b"body of some length");
            for bit in 0..frame.len() * 8 {
                let mut bad = frame.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let refused = seal.open(&bad);
                let is_unsealed = matches!(refused, Err(OpenError::Unsealed(_)));
                // The minor version is not checked, but sealed.
                assert!(is_unsealed, "bit {bit}: {refused:?}");
            }
            for len in 0..frame.len() {
                assert!(seal.open(&frame[..len]).is_err(), "cut to {len}");
            }
        }
    }

    #[test]
    fn a_partition_beyond_the_shape_is_malformed() {
        let seal = seal("eu", None);
        let frame = seal.seal(Kind::DELTA, Some(32), b"");
        let refused = seal.open(&frame);
        assert!(
            matches!(refused, Err(OpenError::Malformed(_))),
            "{refused:?}"
        );
    }
}
