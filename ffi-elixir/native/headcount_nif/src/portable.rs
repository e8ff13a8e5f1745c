//! Terms in an external format that does not depend on the VM that writes it.
//!
//! OTP 25 and older write an atom in Latin-1 where they can, OTP 26 and newer in UTF-8; the order in which a map's
//! pairs are written depends on the release, and on the atoms that the VM has met before. Keys are compared by their
//! bytes, so they get one form here: atoms in UTF-8, the pairs of a map in the order of the bytes of their keys.

use crate::owner::EXTERNAL;

/// The longest format that is looked at. A key has 256 bytes at most, and the portable form is at least half as long.
const LEN_MAX: usize = 1_024;

/// Returns the portable form of a term's external format; `None` if it is that already, if it holds a function, which
/// means nothing elsewhere, and if it is too long for a key.
pub(crate) fn portable(external: &[u8]) -> Option<Vec<u8>> {
    let (&EXTERNAL, term) = external.split_first()? else {
        return None;
    };
    if external.len() > LEN_MAX {
        return None;
    }
    let mut writer = Writer {
        rest: term,
        out: vec![EXTERNAL],
    };
    writer.term()?;
    (writer.out != external).then_some(writer.out)
}

struct Writer<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn term(&mut self) -> Option<()> {
        let tag = *self.rest.first()?;
        match tag {
            // An atom with two bytes of length, or one.
            100 | 118 => self.atom(3, tag == 100),
            115 | 119 => self.atom(2, tag == 115),
            // Integers, a float, the empty list.
            97 => self.copy(2),
            98 => self.copy(5),
            70 => self.copy(9),
            106 => self.copy(1),
            // A list of bytes, a binary, a bitstring, large integers: a length and so many bytes more.
            107 => self.copy(3 + self.number(2)?),
            109 => self.copy(5 + self.number(4)?),
            77 => self.copy(6 + self.number(4)?),
            110 => self.copy(3 + self.number(1)?),
            111 => self.copy(6 + self.number(4)?),
            // Tuples, and a list, which has a tail.
            104 => self.terms(2, self.number(1)?),
            105 => self.terms(5, self.number(4)?),
            108 => self.terms(5, self.number(4)? + 1),
            116 => self.map(),
            // A pid, ports, a reference: the name of a node and so many bytes more.
            88 | 120 => self.named(1, 12),
            89 => self.named(1, 8),
            90 => self.named(3, 4 + 4 * self.number(2)?),
            _ => None,
        }
    }

    /// Returns the big-endian number of `len` bytes that follows the tag.
    fn number(&self, len: usize) -> Option<usize> {
        let bytes = self.rest.get(1..=len)?.iter();
        Some(bytes.fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn copy(&mut self, len: usize) -> Option<()> {
        let bytes = self.take(len)?;
        self.out.extend_from_slice(bytes);
        Some(())
    }

    fn terms(&mut self, head: usize, count: usize) -> Option<()> {
        self.copy(head)?;
        (0..count).try_for_each(|_| self.term())
    }

    fn named(&mut self, head: usize, tail: usize) -> Option<()> {
        self.copy(head)?;
        self.term()?;
        self.copy(tail)
    }

    /// Writes an atom, which has up to 255 characters.
    fn atom(&mut self, head: usize, is_latin1: bool) -> Option<()> {
        let len = self.number(head - 1)?;
        self.take(head)?;
        let text = self.take(len)?;
        let text: String = if is_latin1 {
            text.iter().copied().map(char::from).collect()
        } else {
            String::from_utf8(text.to_vec()).ok()?
        };
        match u8::try_from(text.len()) {
            Ok(len) => self.out.extend([119, len]),
            Err(_) => {
                self.out.push(118);
                self.out
                    .extend(u16::try_from(text.len()).ok()?.to_be_bytes());
            }
        }
        self.out.extend_from_slice(text.as_bytes());
        Some(())
    }

    fn map(&mut self) -> Option<()> {
        let count = self.number(4)?;
        self.copy(5)?;
        let start = self.out.len();
        let mut pairs = Vec::new();
        for _ in 0..count {
            self.term()?;
            let key_len = self.out.len() - start;
            self.term()?;
            pairs.push((key_len, self.out.split_off(start)));
        }
        pairs.sort_unstable_by(|(a_len, a), (b_len, b)| a[..*a_len].cmp(&b[..*b_len]));
        pairs
            .iter()
            .for_each(|(_, pair)| self.out.extend_from_slice(pair));
        Some(())
    }
}
