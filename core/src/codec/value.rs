//! Values inside a frame body: integers, bytes, text, one after the other.

use bincode::config::{Configuration, standard};
use bincode::error::{DecodeError as BincodeError, EncodeError};

use crate::codec::{DecodeError, DecodeErrorKind};

const CONFIG: Configuration = standard();

/// The greatest integer that bincode writes as one byte.
const BYTE_MAX: u8 = 250;

/// Appends values to a byte buffer.
///
/// ```
/// use headcount::codec::{Reader, Writer};
/// let mut writer = Writer::new();
/// writer.u64(300);
/// writer.str("ann");
/// let mut reader = Reader::new(writer.as_slice());
/// assert_eq!(reader.u64()?, 300);
/// assert_eq!(reader.str(16)?, "ann");
/// reader.finish()?;
/// # Ok::<(), headcount::codec::DecodeError>(())
/// ```
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

struct Sink<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Sink<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl Writer {
    /// Makes an empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty buffer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
        }
    }

    /// Writes one byte as it is.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Writes an integer: 1 byte up to 250, then 3, 5 or 9.
    #[inline]
    pub fn u64(&mut self, value: u64) {
        // Most integers of a body take this way: lengths, topic numbers, differences.
        if let Ok(byte @ ..=BYTE_MAX) = u8::try_from(value) {
            self.bytes.push(byte);
        } else {
            bincode::encode_into_writer(value, Sink(&mut self.bytes), CONFIG)
                .expect("writing to memory does not fail");
        }
    }

    /// Writes the length, then the bytes.
    #[inline]
    pub fn bytes(&mut self, value: &[u8]) {
        self.u64(value.len() as u64);
        self.raw(value);
    }

    /// Writes text as its UTF-8 bytes, length first.
    #[inline]
    pub fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Writes the three parts of a [`ReplicaId`](crate::id::ReplicaId).
    pub fn identity(&mut self, name: &str, incarnation: u64, salt: u32) {
        self.str(name);
        self.u64(incarnation);
        self.u64(u64::from(salt));
    }

    /// Appends bytes that are encoded already, without a length.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.bytes.extend_from_slice(encoded);
    }

    /// Returns the number of bytes written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the buffer itself.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads values from a byte slice. Every error names the offset of the value it is about.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Starts at `offset`, clamped to the length.
    #[must_use]
    pub fn at(bytes: &'a [u8], offset: usize) -> Self {
        Self {
            bytes,
            at: offset.min(bytes.len()),
        }
    }

    /// Returns the offset of the next value.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Returns the number of bytes left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Makes an error at `offset` that says which rule the bytes break.
    #[must_use]
    pub fn invalid(offset: usize, what: &'static str) -> DecodeError {
        DecodeError::invalid(offset, what)
    }

    fn fail<T>(&self, kind: DecodeErrorKind) -> Result<T, DecodeError> {
        Err(DecodeError::new(self.at, kind))
    }

    /// Reads one byte as it is.
    ///
    /// # Errors
    /// If the input ends before it.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => self.fail(DecodeErrorKind::Truncated),
        }
    }

    /// Reads an integer.
    ///
    /// # Errors
    /// If the input ends inside it, or if it is not in its shortest form.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        match bincode::borrow_decode_from_slice::<u64, _>(&self.bytes[self.at..], CONFIG) {
            Ok((value, used)) if used == integer_len(value) => {
                self.at += used;
                Ok(value)
            }
            Err(BincodeError::UnexpectedEnd { .. }) => self.fail(DecodeErrorKind::Truncated),
            _ => self.fail(DecodeErrorKind::BadInteger),
        }
    }

    /// Reads an integer that fits 32 bits.
    ///
    /// # Errors
    /// As [`u64`](Self::u64), or if the value is larger.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        let at = self.at;
        u32::try_from(self.u64()?).map_err(|_| DecodeError::new(at, DecodeErrorKind::BadInteger))
    }

    /// Reads length-prefixed bytes, at most `len_max` of them.
    ///
    /// # Errors
    /// If the input ends inside them, or if the length is above `len_max`.
    #[inline]
    pub fn bytes(&mut self, len_max: usize) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        let len = self.u64()?;
        if len > len_max as u64 {
            let kind = DecodeErrorKind::TooLong {
                len,
                max: len_max as u64,
            };
            return Err(DecodeError::new(start, kind));
        }
        self.raw(len as usize)
    }

    /// Reads length-prefixed UTF-8 text of at most `len_max` bytes.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), or if it is not valid UTF-8.
    #[inline]
    pub fn str(&mut self, len_max: usize) -> Result<&'a str, DecodeError> {
        let start = self.at;
        let bytes = self.bytes(len_max)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::new(start, DecodeErrorKind::BadUtf8))
    }

    /// Reads the three parts of a replica id. The name is not empty and has at most 64 bytes, the
    /// incarnation is below 2^62.
    ///
    /// # Errors
    /// If one of the parts breaks its rule.
    pub fn identity(&mut self) -> Result<(&'a str, u64, u32), DecodeError> {
        let start = self.at;
        let name = self.str(64)?;
        if name.is_empty() {
            return Err(Self::invalid(start, "replica name is empty"));
        }
        let at = self.at;
        let incarnation = self.u64()?;
        if incarnation >= 1 << 62 {
            return Err(DecodeError::new(at, DecodeErrorKind::BadInteger));
        }
        Ok((name, incarnation, self.u32()?))
    }

    /// Takes the next `len` bytes as they are.
    ///
    /// # Errors
    /// If fewer are left.
    #[inline]
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        match self.bytes[self.at..].get(..len) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => self.fail(DecodeErrorKind::Truncated),
        }
    }

    /// Checks that no bytes are left.
    ///
    /// # Errors
    /// If bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            self.fail(DecodeErrorKind::TrailingBytes)
        }
    }
}

/// Returns the length of an integer in its shortest form.
#[inline]
fn integer_len(value: u64) -> usize {
    match value {
        0..=250 => 1,
        251..=0xFFFF => 3,
        0x1_0000..=0xFFFF_FFFF => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_must_be_minimal() {
        let mut writer = Writer::new();
        for value in [
            0,
            250,
            251,
            65_535,
            65_536,
            u64::from(u32::MAX),
            1 << 32,
            u64::MAX,
        ] {
            writer.u64(value);
            assert_eq!(Reader::new(writer.as_slice()).u64(), Ok(value));
            writer = Writer::new();
        }
        let wide_five = [251, 5, 0];
        assert_eq!(
            Reader::new(&wide_five).u64(),
            Err(DecodeError::new(0, DecodeErrorKind::BadInteger))
        );
        assert_eq!(
            Reader::new(&[253, 1]).u64(),
            Err(DecodeError::new(0, DecodeErrorKind::Truncated))
        );
    }

    #[test]
    fn lengths_are_checked_before_anything_is_taken() {
        let mut writer = Writer::new();
        writer.u64(u64::MAX);
        let error = Reader::new(writer.as_slice()).bytes(100).unwrap_err();
        assert_eq!(
            error.kind,
            DecodeErrorKind::TooLong {
                len: u64::MAX,
                max: 100
            }
        );
        assert_eq!(
            Reader::new(&[3, 1]).bytes(100),
            Err(DecodeError::new(1, DecodeErrorKind::Truncated))
        );
    }
}
