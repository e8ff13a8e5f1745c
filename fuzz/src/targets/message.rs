//! A message of a cluster, as the targets take it.

use bytes::Bytes;
use headcount::codec::{Envelope, Kind};

/// The bit of a choice that says that the header names a partition: the first byte.
const HAS_PARTITION: u8 = 0x80;
/// The number of partitions, with those of counts.
const PARTITIONS: u16 = 64;

/// A frame without its envelope.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) partition: Option<u16>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Takes a frame out of its envelope.
    pub(crate) fn of(envelope: &Envelope, frame: &[u8]) -> Self {
        let opened = envelope.open(frame).expect("the frame is sound");
        Self {
            kind: opened.kind.0,
            partition: opened.partition,
            body: opened.body.to_vec(),
        }
    }

    /// Reads a choice and the bytes after it.
    pub(crate) fn read(choice: u8, bytes: &[u8]) -> Self {
        let (partition, body) = match bytes.split_first() {
            Some((&number, body)) if choice & HAS_PARTITION != 0 => {
                (Some(u16::from(number) % PARTITIONS), body)
            }
            _ => (None, bytes),
        };
        Self {
            kind: choice & !HAS_PARTITION,
            partition,
            body: body.to_vec(),
        }
    }

    /// Returns the step that [`read`](Self::read) reads.
    pub(crate) fn step(&self) -> Vec<u8> {
        let number = self.partition.map(|number| number as u8);
        let flag = number.map_or(0, |_| HAS_PARTITION);
        let len = self.body.len() + usize::from(number.is_some()) + 1;
        let len = u16::try_from(len).expect("a message is short");
        let mut step = len.to_le_bytes().to_vec();
        step.push(self.kind | flag);
        step.extend(number);
        step.extend(&self.body);
        step
    }

    /// Seals it into a frame.
    pub(crate) fn seal(&self, envelope: &Envelope) -> Bytes {
        let kind = Kind(self.kind);
        envelope.seal(kind, self.partition, &self.body).into()
    }
}
