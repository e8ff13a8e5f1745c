//! The checksum of a window, and the decimal digits it is mostly made of.

use std::any::Any;
use std::fmt;

use crate::member_list::frames::model::FrameRow;
use crate::member_list::{Id, IntId};

/// The checksum of a window: CRC-32 (IEEE) over one line for each row.
///
/// ```
/// use headcount::member_list::Checksum;
///
/// let mut sum = Checksum::default();
/// sum.member(&7u64, 1);
/// sum.member(&9u64, 4);
/// assert_eq!(sum.finish(), 0xa28e_9d69); // "m:7|1\nm:9|4\n"
/// ```
#[derive(Debug, Default)]
pub struct Checksum {
    lines: Vec<u8>,
}

impl Checksum {
    /// One that takes that many rows without growing, if ids are short.
    pub(crate) fn with_room_for(rows: usize) -> Self {
        Self {
            lines: Vec::with_capacity(rows * 32),
        }
    }

    /// Adds a member's row.
    pub fn member<I: Id>(&mut self, id: &I, revision: u32) {
        self.lines.extend_from_slice(b"m:");
        push_id(&mut self.lines, id);
        self.end_line(revision);
    }

    /// Adds a header row.
    pub fn header(&mut self, group: &str, count: u32) {
        self.lines.extend_from_slice(b"g:");
        self.lines.extend_from_slice(group.as_bytes());
        self.end_line(count);
    }

    /// Adds a row.
    pub fn row<I: Id>(&mut self, row: &FrameRow<I>) {
        match row {
            FrameRow::Header { group, count } => self.header(group, *count),
            FrameRow::Member { id, revision, .. } => self.member(id, *revision),
        }
    }

    /// Returns the checksum of the rows added since the last call; the builder is empty again.
    pub fn finish(&mut self) -> u32 {
        let sum = crc32fast::hash(&self.lines);
        self.lines.clear();
        sum
    }

    fn end_line(&mut self, stamp: u32) {
        self.lines.push(b'|');
        push_decimal(&mut self.lines, stamp.into());
        self.lines.push(b'\n');
    }
}

/// Appends the text form of an id.
pub(crate) fn push_id<I: Id>(out: &mut Vec<u8>, id: &I) {
    struct Bytes<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Bytes<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    // Formatting by the standard library would take a third of the time of a tick.
    let any: &dyn Any = id;
    if let Some(&id) = any.downcast_ref::<u64>() {
        push_decimal(out, id);
    } else if let Some(&id) = any.downcast_ref::<IntId>() {
        let number = i128::from(id);
        if number < 0 {
            out.push(b'-');
        }
        push_decimal(out, number.unsigned_abs() as u64);
    } else {
        id.write_text(&mut Bytes(out))
            .expect("memory takes everything");
    }
}

/// Appends a number in decimal.
pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    let end = start + number.checked_ilog10().unwrap_or(0) as usize + 1;
    // A copy of fixed length is no call, and what is too long is cut off at the end.
    out.extend_from_slice(&[b'0'; 20]);
    let mut at = end;
    while number >= 10 {
        at -= 2;
        let pair = 2 * (number % 100) as usize;
        out[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        number /= 100;
    }
    if at > start {
        out[start] = b'0' + number as u8;
    }
    out.truncate(end);
}

/// "00", "01" to "99".
const PAIRS: [u8; 200] = {
    let mut pairs = [b'0'; 200];
    let mut at = 0;
    while at < 100 {
        pairs[2 * at] += (at / 10) as u8;
        pairs[2 * at + 1] += (at % 10) as u8;
        at += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member_list::TextId;

    #[test]
    fn ids_are_pushed_in_their_text_form() {
        fn check<I: Id>(id: &I) {
            let mut out = Vec::new();
            push_id(&mut out, id);
            assert_eq!(out, id.to_text().into_bytes());
        }
        let powers = (0..20).map(|exponent| 10u64.pow(exponent));
        let edges: Vec<u64> = powers
            .flat_map(|p| [p - 1, p, p + 1, 2 * (p / 2) + 37])
            .collect();
        edges.iter().for_each(check);
        check(&u64::MAX);
        for id in edges.into_iter().chain([u64::MAX, 1 << 63]) {
            check(&IntId::from(id));
            check(&IntId::from(id.cast_signed().wrapping_neg()));
        }
        check(&(u128::MAX / 3));
        check(&TextId::new("ada:1|x").expect("a good id"));
    }
}
