//! Keys back to terms.

use super::number::{self, Number};
use super::{ABOVE, ATOM, BELOW, BITSTRING, CONS, END, Key, MAP, NIL, SIZE_IN_TAG, TUPLE};
use rustler::types::tuple::make_tuple;
use rustler::{Encoder, Env, NewBinary, Term, types::atom::Atom};
use std::borrow::Cow;

/// The term of a key. O(its size).
pub(crate) fn decode<'a>(env: Env<'a>, key: &Key) -> Term<'a> {
    let bytes = key.bytes();
    let mut first = Decoder {
        env,
        bytes,
        integral: 0,
        floats: Vec::new(),
    };
    let term = first.term(false).expect("a key holds what `encode` wrote");
    let trailer = first.bytes.get(1..).unwrap_or_default();
    debug_assert_eq!(first.bytes.first(), Some(&END));
    match floats(trailer) {
        floats if floats.is_empty() => term,
        floats => {
            let mut again = Decoder {
                env,
                bytes,
                integral: 0,
                floats,
            };
            again.term(false).expect("it was read once already")
        }
    }
}

struct Decoder<'a, 'b> {
    env: Env<'a>,
    bytes: &'b [u8],
    /// Integral numbers met so far, outside the keys of maps.
    integral: u64,
    /// Which of them are floats, ascending.
    floats: Vec<u64>,
}

impl<'a, 'b> Decoder<'a, 'b> {
    fn term(&mut self, exact: bool) -> Option<Term<'a>> {
        let tag = *self.bytes.first()?;
        if number::TAGS.contains(&tag) {
            return self.number(exact);
        }
        self.bytes = &self.bytes[1..];
        match tag {
            ATOM => self.atom(),
            NIL => Some(Term::list_new_empty(self.env)),
            CONS => self.list(exact),
            BITSTRING => self.bitstring(),
            _ if tag & 0xF8 == TUPLE => self.tuple(tag, exact),
            _ if tag & 0xF8 == MAP => self.map(tag, exact),
            _ => None,
        }
    }

    fn number(&mut self, exact: bool) -> Option<Term<'a>> {
        let (number, len) = number::read(self.bytes)?;
        self.bytes = &self.bytes[len..];
        if !exact && !matches!(number, Number::Float(_)) {
            let position = self.integral;
            self.integral += 1;
            if self.floats.binary_search(&position).is_ok() {
                return Some(number::as_float(&number).encode(self.env));
            }
        }
        match number {
            Number::Small(n) => Some(n.encode(self.env)),
            Number::Float(float) => Some(float.encode(self.env)),
            Number::Big(negative, digits) => big(self.env, negative, &digits),
        }
    }

    fn atom(&mut self) -> Option<Term<'a>> {
        let text = self.text()?;
        if text.is_ascii() {
            return Atom::from_bytes(self.env, &text)
                .ok()
                .map(|atom| atom.to_term(self.env));
        }
        let len = text.len() as u16;
        external(self.env, &[&[131, 118], &len.to_be_bytes(), &text])
    }

    fn bitstring(&mut self) -> Option<Term<'a>> {
        let bytes = self.text()?;
        if let Some(&bits @ 1..=7) = self.bytes.first() {
            self.bytes = &self.bytes[1..];
            let len = bytes.len() as u32;
            return external(self.env, &[&[131, 77], &len.to_be_bytes(), &[bits], &bytes]);
        }
        Some(NewBinary::from_slice(self.env, &bytes).into())
    }

    fn text(&mut self) -> Option<Cow<'b, [u8]>> {
        let mut whole = Vec::new();
        loop {
            let zero = self.bytes.iter().position(|&byte| byte == BELOW)?;
            let (part, rest) = self.bytes.split_at(zero);
            if rest.get(1) == Some(&ABOVE) {
                whole.extend_from_slice(part);
                whole.push(0);
                self.bytes = &rest[2..];
                continue;
            }
            self.bytes = &rest[1..];
            if whole.is_empty() {
                return Some(part.into());
            }
            whole.extend_from_slice(part);
            return Some(whole.into());
        }
    }

    fn list(&mut self, exact: bool) -> Option<Term<'a>> {
        let mut heads = vec![self.term(exact)?];
        while self.bytes.first() == Some(&CONS) {
            self.bytes = &self.bytes[1..];
            heads.push(self.term(exact)?);
        }
        let tail = self.term(exact)?;
        Some(
            heads
                .into_iter()
                .rev()
                .fold(tail, |tail, head| tail.list_prepend(head)),
        )
    }

    fn tuple(&mut self, tag: u8, exact: bool) -> Option<Term<'a>> {
        match tag - TUPLE {
            2 => Some((self.term(exact)?, self.term(exact)?).encode(self.env)),
            3 => Some((self.term(exact)?, self.term(exact)?, self.term(exact)?).encode(self.env)),
            size => {
                let size = self.size(size)?;
                Some(make_tuple(self.env, &self.terms(size, exact)?))
            }
        }
    }

    fn map(&mut self, tag: u8, exact: bool) -> Option<Term<'a>> {
        let size = self.size(tag - MAP)?;
        let keys = self.terms(size, true)?;
        let values = self.terms(size, exact)?;
        Term::map_from_term_arrays(self.env, &keys, &values).ok()
    }

    fn terms(&mut self, count: usize, exact: bool) -> Option<Vec<Term<'a>>> {
        (0..count).map(|_| self.term(exact)).collect()
    }

    fn size(&mut self, in_tag: u8) -> Option<usize> {
        if usize::from(in_tag) <= SIZE_IN_TAG {
            return Some(in_tag.into());
        }
        let (size, rest) = self.bytes.split_first_chunk::<4>()?;
        self.bytes = rest;
        Some(u32::from_be_bytes(*size) as usize)
    }
}

/// Positions of the floats; zeroes are the padding of a short key.
fn floats(trailer: &[u8]) -> Vec<u64> {
    let (mut floats, mut next, mut distance, mut shift) = (Vec::new(), 0, 0, 0);
    for &byte in trailer {
        distance |= u64::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 != 0 {
            continue;
        }
        if distance == 0 {
            break;
        }
        next += distance;
        floats.push(next - 1);
        (distance, shift) = (0, 0);
    }
    floats
}

fn big<'a>(env: Env<'a>, negative: bool, digits: &[u8]) -> Option<Term<'a>> {
    let digits: Vec<u8> = digits.iter().rev().copied().collect();
    let len = digits.len() as u32;
    external(
        env,
        &[&[131, 111], &len.to_be_bytes(), &[negative.into()], &digits],
    )
}

fn external<'a>(env: Env<'a>, parts: &[&[u8]]) -> Option<Term<'a>> {
    env.binary_to_term(&parts.concat()).map(|(term, _)| term)
}
