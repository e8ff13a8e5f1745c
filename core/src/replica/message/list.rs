//! Lists that stay encoded: checked once, then read item by item without memory of their own.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;

use crate::codec::Shape;
use crate::codec::{DecodeError, Reader, Writer};

/// The input of a decoder: the bytes of a body, its place in them, and the shape of the cluster.
pub(crate) struct Input<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) bytes: &'a Bytes,
    pub(super) shape: Shape,
}

impl Input<'_> {
    /// Takes the next `len` bytes without a copy.
    pub(super) fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let start = self.reader.offset();
        self.reader.raw(len)?;
        Ok(self.bytes.slice(start..start + len))
    }

    /// Takes all bytes that are left without a copy.
    pub(super) fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.reader.offset()..);
        self.reader = Reader::at(self.bytes, self.bytes.len());
        rest
    }

    pub(super) fn partition(&mut self) -> Result<u16, DecodeError> {
        let at = self.reader.offset();
        let number = self.reader.u64()?;
        let partition = self.shape.partition(number);
        partition.ok_or_else(|| Reader::invalid(at, "there is no such partition"))
    }
}

/// Something that lists have.
pub(crate) trait Item: Sized {
    /// The most items of one list.
    const LEN_MAX: u64;

    fn write(&self, writer: &mut Writer);

    /// # Errors
    /// If the bytes are no such item.
    fn read(input: &mut Input<'_>) -> Result<Self, DecodeError>;
}

/// A checked list in its encoded form.
pub(crate) struct List<T> {
    bytes: Bytes,
    len: u64,
    shape: Shape,
    item: PhantomData<fn() -> T>,
}

impl<T: Item> List<T> {
    pub(crate) fn new(shape: Shape, items: impl IntoIterator<Item = T>) -> Self {
        let mut writer = Writer::new();
        let mut len = 0;
        for item in items {
            item.write(&mut writer);
            len += 1;
        }
        Self {
            bytes: writer.into_vec().into(),
            len,
            shape,
            item: PhantomData,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Reads the items one by one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let mut input = Input {
            reader: Reader::new(&self.bytes),
            bytes: &self.bytes,
            shape: self.shape,
        };
        (0..self.len).map_while(move |_| T::read(&mut input).ok())
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u64(self.len);
        writer.raw(&self.bytes);
    }

    /// Reads a list and checks every item.
    pub(super) fn read(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let at = input.reader.offset();
        let len = input.reader.u64()?;
        if len > T::LEN_MAX {
            return Err(Reader::invalid(at, "a list has too many items"));
        }
        let start = input.reader.offset();
        for _ in 0..len {
            T::read(input)?;
        }
        Ok(Self {
            bytes: input.bytes.slice(start..input.reader.offset()),
            len,
            shape: input.shape,
            item: PhantomData,
        })
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            ..*self
        }
    }
}

impl<T> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.bytes == other.bytes
    }
}

impl<T> Eq for List<T> {}

impl<T: Item + fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
