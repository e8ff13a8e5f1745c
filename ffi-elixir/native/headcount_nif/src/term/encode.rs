//! Keys from terms.

use super::number::{self, Scale};
use super::{
    ABOVE, ATOM, BELOW, BITSTRING, CONS, DEPTH_MAX, ENCODED_NORMAL_MAX, END, Key, MAP, NIL,
    SIZE_IN_TAG, TUPLE,
};
use rustler::types::tuple::get_tuple;
use rustler::{Binary, MapIterator, Term, TermType};
use std::cell::RefCell;

/// The reason for which a term cannot be a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unencodable {
    /// It is or holds a reference, function, port or pid.
    Type,
    /// It nests deeper than [`DEPTH_MAX`].
    Depth,
    /// Its encoding is longer than the bound.
    Size,
}

/// Returns the term as a key of about `max` bytes at most. O(size of the term).
pub(crate) fn encode(term: Term<'_>, max: usize) -> Result<Key, Unencodable> {
    thread_local!(static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        let mut encoder = Encoder {
            out: std::mem::take(buffer),
            max,
            integral: 0,
            floats: Vec::new(),
        };
        let done = encoder.term(term, DEPTH_MAX, false);
        let key = done.map(|()| encoder.finish());
        *buffer = encoder.out;
        buffer.shrink_to(ENCODED_NORMAL_MAX);
        key
    })
}

struct Encoder {
    out: Vec<u8>,
    max: usize,
    /// Integral numbers met so far, outside the keys of maps.
    integral: u64,
    /// Which of them were floats.
    floats: Vec<u64>,
}

impl Encoder {
    fn finish(&mut self) -> Key {
        self.out.push(END);
        let mut next = 0;
        for &float in &self.floats {
            push_leb128(&mut self.out, float + 1 - next);
            next = float + 1;
        }
        Key::new(&self.out)
    }

    /// `exact`: inside the key of a map, where floats stand behind all integers.
    fn term(&mut self, term: Term<'_>, depth: usize, exact: bool) -> Result<(), Unencodable> {
        if self.out.len() > self.max {
            return Err(Unencodable::Size);
        }
        match term.get_type() {
            TermType::Integer => self.integer(term, exact),
            TermType::Float => self.float(term, exact),
            TermType::Atom => self.atom(term),
            TermType::Binary => self.bitstring(term),
            TermType::List => self.list(term, depth, exact),
            TermType::Tuple => self.tuple(term, depth, exact),
            TermType::Map => self.map(term, depth, exact),
            _ => Err(Unencodable::Type),
        }
    }

    fn integer(&mut self, term: Term<'_>, exact: bool) -> Result<(), Unencodable> {
        self.integral += u64::from(!exact);
        if let Ok(n) = term.decode::<i64>() {
            number::push_i64(&mut self.out, n);
            return Ok(());
        }
        let external = term.to_binary();
        let (sign, digits) = match external.as_slice() {
            [131, 110, _, sign, digits @ ..] | [131, 111, _, _, _, _, sign, digits @ ..] => {
                (*sign, digits)
            }
            _ => return Err(Unencodable::Type),
        };
        if digits.len() > self.max {
            return Err(Unencodable::Size);
        }
        let digits: Vec<u8> = digits.iter().rev().copied().collect();
        number::push_integer(&mut self.out, sign == 1, &digits);
        Ok(())
    }

    fn float(&mut self, term: Term<'_>, exact: bool) -> Result<(), Unencodable> {
        let float = term.decode().map_err(|_| Unencodable::Type)?;
        if exact {
            number::push_exact_float(&mut self.out, float);
        } else if number::push_float(&mut self.out, float) == Scale::Integral {
            self.floats.push(self.integral);
            self.integral += 1;
        }
        Ok(())
    }

    /// Atoms sort by their UTF-8 text.
    fn atom(&mut self, term: Term<'_>) -> Result<(), Unencodable> {
        self.out.push(ATOM);
        if let Ok(text) = term.atom_to_string() {
            return self.text(text.as_bytes());
        }
        match term.to_binary().as_slice() {
            [131, 119, _, text @ ..] | [131, 118, _, _, text @ ..] => self.text(text),
            _ => Err(Unencodable::Type),
        }
    }

    fn bitstring(&mut self, term: Term<'_>) -> Result<(), Unencodable> {
        self.out.push(BITSTRING);
        if let Ok(binary) = term.decode::<Binary<'_>>() {
            return self.text(&binary);
        }
        match term.to_binary().as_slice() {
            [131, 77, _, _, _, _, bits, bytes @ ..] => {
                self.text(bytes)?;
                self.out.push(*bits);
                Ok(())
            }
            _ => Err(Unencodable::Type),
        }
    }

    /// Bytes closed by a zero; a zero within is marked by the byte that never follows the closing one.
    fn text(&mut self, bytes: &[u8]) -> Result<(), Unencodable> {
        if bytes.len() > self.max {
            return Err(Unencodable::Size);
        }
        let mut rest = bytes;
        while let Some(zero) = rest.iter().position(|&byte| byte == 0) {
            self.out.extend_from_slice(&rest[..=zero]);
            self.out.push(ABOVE);
            rest = &rest[zero + 1..];
        }
        self.out.extend_from_slice(rest);
        self.out.push(BELOW);
        Ok(())
    }

    fn tuple(&mut self, term: Term<'_>, depth: usize, exact: bool) -> Result<(), Unencodable> {
        let depth = depth.checked_sub(1).ok_or(Unencodable::Depth)?;
        let elements = get_tuple(term).map_err(|_| Unencodable::Type)?;
        self.size(TUPLE, elements.len());
        elements
            .into_iter()
            .try_for_each(|element| self.term(element, depth, exact))
    }

    /// A list is its elements one by one, then its tail, so that `[1] < [1, 2] < [1 | "tail"]`.
    fn list(&mut self, term: Term<'_>, depth: usize, exact: bool) -> Result<(), Unencodable> {
        let depth = depth.checked_sub(1).ok_or(Unencodable::Depth)?;
        let mut rest = term;
        while let Ok((head, tail)) = rest.list_get_cell() {
            self.out.push(CONS);
            self.term(head, depth, exact)?;
            rest = tail;
        }
        if rest.is_empty_list() {
            self.out.push(NIL);
            return Ok(());
        }
        self.term(rest, depth, exact)
    }

    /// Maps sort by size, then by their sorted keys, then by the values in the order of the keys.
    fn map(&mut self, term: Term<'_>, depth: usize, exact: bool) -> Result<(), Unencodable> {
        let depth = depth.checked_sub(1).ok_or(Unencodable::Depth)?;
        let pairs = MapIterator::new(term).ok_or(Unencodable::Type)?;
        let start = self.out.len();
        let mut sorted = Vec::new();
        for (key, value) in pairs {
            let from = self.out.len();
            self.term(key, depth, true)?;
            sorted.push((self.out[from..].to_vec(), value));
        }
        sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.out.truncate(start);
        self.size(MAP, sorted.len());
        sorted
            .iter()
            .for_each(|(key, _)| self.out.extend_from_slice(key));
        sorted
            .into_iter()
            .try_for_each(|(_, value)| self.term(value, depth, exact))
    }

    fn size(&mut self, tag: u8, size: usize) {
        if size <= SIZE_IN_TAG {
            return self.out.push(tag + size as u8);
        }
        self.out.push(tag + SIZE_IN_TAG as u8 + 1);
        self.out.extend((size as u32).to_be_bytes());
    }
}

fn push_leb128(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
