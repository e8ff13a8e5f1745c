//! A set of partitions, as small as it can be: a sorted list, or a bitmap once that is smaller.

use crate::codec::{DecodeError, Reader, Writer};

use crate::codec::Shape;

const FORM_LIST: u8 = 0;
const FORM_BITMAP: u8 = 1;

/// The partitions that a replica occupies, or those that a node watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionSet {
    shape: Shape,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// In ascending order.
    List(Vec<u16>),
    Bitmap {
        words: Box<[u64]>,
        len: u32,
    },
}

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(ours), Self::List(theirs)) => ours == theirs,
            (Self::Bitmap { words: ours, .. }, Self::Bitmap { words: theirs, .. }) => {
                ours == theirs
            }
            // The size of a set decides its form.
            _ => false,
        }
    }
}

impl Eq for Form {}

impl PartitionSet {
    pub(crate) fn new(shape: Shape) -> Self {
        let form = Form::List(Vec::new());
        Self { shape, form }
    }

    /// Returns the size from which on a bitmap is used: a list then takes as many bytes.
    fn bitmap_from(&self) -> usize {
        (self.shape.all_partitions() as usize / 16).max(8)
    }

    pub(crate) fn len(&self) -> usize {
        match &self.form {
            Form::List(list) => list.len(),
            Form::Bitmap { len, .. } => *len as usize,
        }
    }

    /// O(1) as a bitmap, else O(log n).
    pub(crate) fn contains(&self, partition: u16) -> bool {
        match &self.form {
            Form::List(list) => list.binary_search(&partition).is_ok(),
            Form::Bitmap { words, .. } => {
                let word = words.get(usize::from(partition) / 64);
                word.is_some_and(|word| word >> (partition % 64) & 1 == 1)
            }
        }
    }

    /// Adds a partition that is not in the set, or removes one that is. Returns whether it is in
    /// the set now.
    pub(crate) fn toggle(&mut self, partition: u16) -> bool {
        let is_added = match &mut self.form {
            Form::List(list) => match list.binary_search(&partition) {
                Ok(index) => {
                    list.remove(index);
                    false
                }
                Err(index) => {
                    list.insert(index, partition);
                    true
                }
            },
            Form::Bitmap { words, len } => {
                let word = &mut words[usize::from(partition) / 64];
                *word ^= 1 << (partition % 64);
                let is_added = *word >> (partition % 64) & 1 == 1;
                *len = if is_added { *len + 1 } else { *len - 1 };
                is_added
            }
        };
        self.reform();
        is_added
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        let (list, words): (&[u16], &[u64]) = match &self.form {
            Form::List(list) => (list, &[]),
            Form::Bitmap { words, .. } => (&[], words),
        };
        let bits = words.iter().enumerate().flat_map(|(index, word)| {
            let set = (0..64).filter(move |bit| word >> bit & 1 == 1);
            set.map(move |bit| (index * 64 + bit) as u16)
        });
        list.iter().copied().chain(bits)
    }

    /// Takes the form that the size asks for.
    fn reform(&mut self) {
        let is_large = self.len() >= self.bitmap_from();
        match &self.form {
            Form::List(list) if is_large => {
                let mut words = vec![0; (self.shape.all_partitions() as usize).div_ceil(64)];
                for partition in list {
                    words[usize::from(*partition) / 64] |= 1 << (partition % 64);
                }
                self.form = Form::Bitmap {
                    len: list.len() as u32,
                    words: words.into(),
                };
            }
            Form::Bitmap { .. } if !is_large => self.form = Form::List(self.iter().collect()),
            _ => {}
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        match &self.form {
            Form::List(list) => {
                writer.u8(FORM_LIST);
                writer.u64(list.len() as u64);
                let mut next = 0;
                for partition in list {
                    writer.u64(u64::from(*partition - next));
                    next = partition.wrapping_add(1);
                }
            }
            Form::Bitmap { words, .. } => {
                writer.u8(FORM_BITMAP);
                for partition in 0..self.shape.all_partitions().div_ceil(8) {
                    let word = words[partition as usize / 8];
                    writer.u8((word >> (partition % 8 * 8)) as u8);
                }
            }
        }
    }

    /// Reads a set of a cluster of this shape. Allocates no more than twice the bytes read.
    ///
    /// # Errors
    /// If it is not in its only form, or names a partition that does not exist.
    pub(crate) fn read(reader: &mut Reader<'_>, shape: Shape) -> Result<Self, DecodeError> {
        let at = reader.offset();
        let mut set = Self::new(shape);
        match reader.u8()? {
            FORM_LIST => {
                let len = reader.u64()?;
                if len >= set.bitmap_from() as u64 || len > reader.remaining() as u64 {
                    return Err(Reader::invalid(at, "a list of partitions is too long"));
                }
                let mut list = Vec::with_capacity(len as usize);
                let mut next = 0;
                for _ in 0..len {
                    let at = reader.offset();
                    let number = reader.u64()?.checked_add(next);
                    let partition = number.and_then(|number| shape.partition(number));
                    let no_such = || Reader::invalid(at, "there is no such partition");
                    let partition = partition.ok_or_else(no_such)?;
                    list.push(partition);
                    next = u64::from(partition) + 1;
                }
                set.form = Form::List(list);
            }
            FORM_BITMAP => {
                let bytes = reader.raw(shape.all_partitions().div_ceil(8) as usize)?;
                let words: Box<[u64]> = bytes.chunks(8).map(word_of).collect();
                let len = words.iter().map(|word| word.count_ones()).sum();
                let spare_bits = shape.all_partitions() % 64;
                let is_beyond = spare_bits != 0 && words.iter().any(|word| word >> spare_bits != 0);
                if is_beyond || (len as usize) < set.bitmap_from() {
                    return Err(Reader::invalid(at, "a bitmap of partitions is not minimal"));
                }
                set.form = Form::Bitmap { words, len };
            }
            _ => return Err(Reader::invalid(at, "no such form of a set")),
        }
        Ok(set)
    }
}

fn word_of(bytes: &[u8]) -> u64 {
    let shifted = |(index, byte): (usize, &u8)| u64::from(*byte) << (8 * index);
    bytes.iter().enumerate().map(shifted).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::codec::Mode;

    fn written(set: &PartitionSet) -> Vec<u8> {
        let mut writer = Writer::new();
        set.write(&mut writer);
        writer.into_vec()
    }

    proptest! {
        #[test]
        fn a_set_is_what_its_toggles_made(bits in 0u8..=16, toggles: Vec<u16>) {
            let shape = Shape::from_bits(bits, Mode::All).unwrap();
            let mut set = PartitionSet::new(shape);
            let mut model = BTreeSet::new();
            for toggle in toggles {
                let partition = toggle & (shape.all_partitions() - 1) as u16;
                let is_added = model.insert(partition) || !model.remove(&partition);
                prop_assert_eq!(set.toggle(partition), is_added);
                prop_assert_eq!(set.contains(partition), is_added);
                prop_assert_eq!(set.len(), model.len());
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            let bytes = written(&set);
            prop_assert!(bytes.len() <= 4 + (shape.all_partitions() as usize / 8).max(24));
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(PartitionSet::read(&mut reader, shape)?, set);
            prop_assert_eq!(reader.remaining(), 0);
        }

        #[test]
        fn any_bytes_are_refused_or_written_back(bits in 0u8..=16, bytes: Vec<u8>) {
            let shape = Shape::from_bits(bits, Mode::All).unwrap();
            let mut reader = Reader::new(&bytes);
            if let Ok(set) = PartitionSet::read(&mut reader, shape) {
                prop_assert_eq!(&written(&set)[..], &bytes[..reader.offset()]);
            }
        }
    }

    #[test]
    fn a_list_that_claims_more_than_there_is_reserves_nothing() {
        let shape = Shape::new(1 << 16, Mode::All).unwrap();
        let mut writer = Writer::new();
        writer.u8(FORM_LIST);
        writer.u64(4_000);
        let mut reader = Reader::new(writer.as_slice());
        assert!(PartitionSet::read(&mut reader, shape).is_err());
    }
}
