//! Terms from keys.

use super::number::{self, Number};
use super::{ABOVE, ATOM, BELOW, BITSTRING, CONS, END, Key, MAP, NIL, SIZE_IN_TAG, TUPLE};
use rustler::types::tuple::make_tuple;
use rustler::{Encoder, Env, NewBinary, Term, types::atom::Atom};
use std::borrow::Cow;
use std::cell::Cell;

/// Returns the term of a key. O(its size).
pub(crate) fn decode<'a>(env: Env<'a>, key: &Key) -> Term<'a> {
    thread_local!(static STACK: Cell<Vec<Term<'static>>> = const { Cell::new(Vec::new()) });
    let mut terms = emptied(STACK.take());
    push(env, key, &mut terms);
    let term = terms.pop().expect("each key gives a term");
    STACK.set(emptied(terms));
    term
}

/// Returns the memory of a stack, for the terms of another call.
fn emptied<'b>(mut terms: Vec<Term<'_>>) -> Vec<Term<'b>> {
    terms.clear();
    terms.into_iter().map(|_| unreachable!()).collect()
}

/// Appends the term of a key. O(its size).
pub(crate) fn push<'a>(env: Env<'a>, key: &Key, terms: &mut Vec<Term<'a>>) {
    let bytes = key.bytes();
    let mut first = Decoder {
        env,
        terms,
        bytes,
        integral: 0,
        floats: Vec::new(),
    };
    first.term(false).expect("a key holds what `encode` wrote");
    let trailer = first.bytes.get(1..).unwrap_or_default();
    debug_assert_eq!(first.bytes.first(), Some(&END));
    if trailer.first().is_none_or(|&byte| byte == 0) {
        return;
    }
    terms.pop();
    let mut again = Decoder {
        env,
        terms,
        bytes,
        integral: 0,
        floats: floats(trailer),
    };
    again.term(false).expect("it was read once already");
}

/// Terms go to a stack and not through results: they are three words long, and a slice makes hundreds of them.
struct Decoder<'a, 'b, 's> {
    env: Env<'a>,
    terms: &'s mut Vec<Term<'a>>,
    bytes: &'b [u8],
    /// Integral numbers met so far, outside the keys of maps.
    integral: u64,
    /// Which of them are floats, ascending.
    floats: Vec<u64>,
}

impl<'a, 'b> Decoder<'a, 'b, '_> {
    /// Pushes one term.
    fn term(&mut self, exact: bool) -> Option<()> {
        let tag = *self.bytes.first()?;
        if number::TAGS.contains(&tag) {
            return self.number(exact);
        }
        self.bytes = &self.bytes[1..];
        match tag {
            ATOM => self.atom(),
            NIL => self.push(Term::list_new_empty(self.env)),
            CONS => self.list(exact),
            BITSTRING => self.bitstring(),
            _ if tag & 0xF8 == TUPLE => self.tuple(tag, exact),
            _ if tag & 0xF8 == MAP => self.map(tag, exact),
            _ => None,
        }
    }

    #[inline]
    fn push(&mut self, term: Term<'a>) -> Option<()> {
        self.terms.push(term);
        Some(())
    }

    /// Replaces the topmost terms by one.
    #[inline]
    fn fold(&mut self, from: usize, term: Term<'a>) -> Option<()> {
        self.terms.truncate(from);
        self.push(term)
    }

    fn number(&mut self, exact: bool) -> Option<()> {
        if let Some((number, len)) = number::read_short(self.bytes)
            && self.floats.is_empty()
        {
            self.bytes = &self.bytes[len..];
            self.integral += u64::from(!exact);
            return self.push(number.encode(self.env));
        }
        let (number, len) = number::read(self.bytes)?;
        self.bytes = &self.bytes[len..];
        if !exact && !matches!(number, Number::Float(_)) {
            let position = self.integral;
            self.integral += 1;
            if self.floats.binary_search(&position).is_ok() {
                return self.push(number::as_float(&number).encode(self.env));
            }
        }
        let term = match number {
            Number::Small(n) => n.encode(self.env),
            Number::Float(float) => float.encode(self.env),
            Number::Big(negative, digits) => integer(self.env, negative, &digits)?,
        };
        self.push(term)
    }

    fn atom(&mut self) -> Option<()> {
        let text = self.text()?;
        if text.is_ascii() {
            let atom = Atom::from_bytes(self.env, &text).ok()?;
            return self.push(atom.to_term(self.env));
        }
        let len = text.len() as u16;
        let term = external(self.env, &[&[131, 118], &len.to_be_bytes(), &text])?;
        self.push(term)
    }

    fn bitstring(&mut self) -> Option<()> {
        let bytes = self.text()?;
        if let Some(&bits @ 1..=7) = self.bytes.first() {
            self.bytes = &self.bytes[1..];
            let len = bytes.len() as u32;
            let term = external(self.env, &[&[131, 77], &len.to_be_bytes(), &[bits], &bytes])?;
            return self.push(term);
        }
        self.push(NewBinary::from_slice(self.env, &bytes).into())
    }

    #[inline]
    fn text(&mut self) -> Option<Cow<'b, [u8]>> {
        let bytes = self.bytes;
        let zero = bytes.iter().position(|&byte| byte == BELOW)?;
        if bytes.get(zero + 1) == Some(&ABOVE) {
            return self.text_with_zeroes();
        }
        self.bytes = &bytes[zero + 1..];
        Some(bytes[..zero].into())
    }

    fn text_with_zeroes(&mut self) -> Option<Cow<'b, [u8]>> {
        let mut whole = Vec::new();
        loop {
            let zero = self.bytes.iter().position(|&byte| byte == BELOW)?;
            let (part, rest) = self.bytes.split_at(zero);
            whole.extend_from_slice(part);
            if rest.get(1) != Some(&ABOVE) {
                self.bytes = &rest[1..];
                return Some(whole.into());
            }
            whole.push(0);
            self.bytes = &rest[2..];
        }
    }

    fn list(&mut self, exact: bool) -> Option<()> {
        let from = self.terms.len();
        self.term(exact)?;
        while self.bytes.first() == Some(&CONS) {
            self.bytes = &self.bytes[1..];
            self.term(exact)?;
        }
        self.term(exact)?;
        let mut list = self.terms.pop()?;
        while self.terms.len() > from {
            list = list.list_prepend(self.terms.pop()?);
        }
        self.push(list)
    }

    fn tuple(&mut self, tag: u8, exact: bool) -> Option<()> {
        let size = self.size(tag - TUPLE)?;
        let from = self.terms.len();
        self.all(size, exact)?;
        let tuple = match &self.terms[from..] {
            [a, b] => (a, b).encode(self.env),
            [a, b, c] => (a, b, c).encode(self.env),
            many => make_tuple(self.env, many),
        };
        self.fold(from, tuple)
    }

    fn map(&mut self, tag: u8, exact: bool) -> Option<()> {
        let size = self.size(tag - MAP)?;
        let from = self.terms.len();
        self.all(size, true)?;
        self.all(size, exact)?;
        let (keys, values) = self.terms[from..].split_at(size);
        let map = Term::map_from_term_arrays(self.env, keys, values).ok()?;
        self.fold(from, map)
    }

    fn all(&mut self, count: usize, exact: bool) -> Option<()> {
        (0..count).try_for_each(|_| self.term(exact))
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
    let mut floats = Vec::new();
    let mut next = 0;
    let mut distance = 0;
    let mut shift = 0;
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

/// Returns the integer of a sign and big-endian base-256 digits.
pub(crate) fn integer<'a>(env: Env<'a>, negative: bool, digits: &[u8]) -> Option<Term<'a>> {
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
