//! Metas as JSON, for clusters with nodes of other languages.

use rustler::{Atom, Encoder, Env, MapIterator, Term, TermType};
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::{fmt, io};

use crate::{atoms, term};

/// The deepest nesting of lists and maps in a meta.
const DEPTH_MAX: usize = 64;

/// The most digits of an integer that is read: as many as Python reads. The time grows with their square.
const DIGITS_MAX: usize = 4_300;

/// The reason for which a term cannot travel as JSON.
#[derive(Debug)]
pub(crate) enum Error {
    /// A key that is no UTF-8 binary.
    KeyNotText,
    /// A meta with something that JSON does not have.
    Meta(String),
    /// The bytes of a meta, and the number that is allowed.
    TooLarge(usize, usize),
}

/// Returns the JSON of a meta. O(its size).
pub(crate) fn encode(meta: Term<'_>, len_max: usize) -> Result<Vec<u8>, Error> {
    let mut out = Bounded {
        bytes: Vec::new(),
        len: 0,
        len_max,
    };
    let value = Value {
        term: meta,
        depth: DEPTH_MAX,
    };
    match serde_json::to_writer(&mut out, &value) {
        Err(error) => Err(Error::Meta(error.to_string())),
        Ok(()) if out.len > len_max => Err(Error::TooLarge(out.len, len_max)),
        Ok(()) => Ok(out.bytes),
    }
}

/// Returns the map of a JSON object; `None` for anything else. O(its size).
pub(crate) fn decode<'a>(env: Env<'a>, bytes: &[u8], existing_atoms: bool) -> Option<Term<'a>> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let seed = Seed {
        env,
        existing_atoms,
        exact: has_long_integers(bytes),
        depth: DEPTH_MAX + 1,
    };
    let term = seed.deserialize(&mut json).ok()?;
    json.end().ok()?;
    term.is_map().then_some(term)
}

/// A buffer with a bound: it counts the bytes beyond it and drops them.
struct Bounded {
    bytes: Vec<u8>,
    len: usize,
    len_max: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.len += part.len();
        if self.len <= self.len_max {
            self.bytes.extend_from_slice(part);
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Value<'a> {
    term: Term<'a>,
    depth: usize,
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
        let term = self.term;
        match term.get_type() {
            TermType::Atom => self.atom(json),
            TermType::Binary => match term.decode::<&str>() {
                Ok(text) => json.serialize_str(text),
                Err(_) => Err(S::Error::custom(
                    "a binary that is not UTF-8 text has no JSON",
                )),
            },
            TermType::Float => json.serialize_f64(term.decode().map_err(|_| unknown::<S>(term))?),
            TermType::Integer => match (term.decode::<i64>(), term.decode::<u64>()) {
                (Ok(number), _) => json.serialize_i64(number),
                (_, Ok(number)) => json.serialize_u64(number),
                _ => Err(S::Error::custom(
                    "an integer of more than 64 bits has no JSON here",
                )),
            },
            TermType::List => self.list(json),
            TermType::Map => self.map(json),
            _ => Err(unknown::<S>(term)),
        }
    }
}

fn unknown<S: Serializer>(term: Term<'_>) -> S::Error {
    let what = match term.get_type() {
        TermType::Tuple => "a tuple",
        TermType::Pid => "a pid",
        TermType::Fun => "a function",
        TermType::Ref => "a reference",
        TermType::Port => "a port",
        _ => "this term",
    };
    S::Error::custom(format_args!("{what} has no JSON"))
}

impl<'a> Value<'a> {
    fn below<S: Serializer>(&self, term: Term<'a>) -> Result<Self, S::Error> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| {
            S::Error::custom(format_args!(
                "a meta as JSON may nest {DEPTH_MAX} deep, this one nests deeper"
            ))
        })?;
        Ok(Self { term, depth })
    }

    fn atom<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
        match atom_text(self.term).as_deref() {
            Some("nil") => json.serialize_none(),
            Some("true") => json.serialize_bool(true),
            Some("false") => json.serialize_bool(false),
            Some(text) => json.serialize_str(text),
            None => Err(unknown::<S>(self.term)),
        }
    }

    fn list<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
        let mut items = json.serialize_seq(None)?;
        let mut rest = self.term;
        while let Ok((head, tail)) = rest.list_get_cell() {
            items.serialize_element(&self.below::<S>(head)?)?;
            rest = tail;
        }
        if !rest.is_empty_list() {
            return Err(S::Error::custom("an improper list has no JSON"));
        }
        items.end()
    }

    /// Writes a map sorted by key, so that equal metas are equal bytes.
    fn map<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
        let pairs = MapIterator::new(self.term).ok_or_else(|| unknown::<S>(self.term))?;
        let mut fields = Vec::new();
        for (key, value) in pairs {
            fields.push((name::<S>(key)?, value));
        }
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        if let Some(twice) = fields.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(S::Error::custom(format_args!(
                "the key {:?} is there as a string and as an atom",
                twice[0].0
            )));
        }
        let mut object = json.serialize_map(Some(fields.len()))?;
        for (key, value) in fields {
            object.serialize_entry(&*key, &self.below::<S>(value)?)?;
        }
        object.end()
    }
}

fn name<'a, S: Serializer>(key: Term<'a>) -> Result<Cow<'a, str>, S::Error> {
    if let Ok(text) = key.decode::<&str>() {
        return Ok(text.into());
    }
    match atom_text(key) {
        Some(text) if text == "__struct__" => Err(S::Error::custom(
            "a struct has no JSON: pass a map of the fields that shall travel",
        )),
        Some(text) => Ok(text.into()),
        None => Err(S::Error::custom(
            "the keys of a meta as JSON are strings or atoms, this one is neither",
        )),
    }
}

fn atom_text(term: Term<'_>) -> Option<String> {
    if !term.is_atom() {
        return None;
    }
    if let Ok(text) = term.atom_to_string() {
        return Some(text);
    }
    // Atoms beyond Latin 1.
    match term.to_binary().as_slice() {
        [131, 119, _, text @ ..] | [131, 118, _, _, text @ ..] => {
            String::from_utf8(text.to_vec()).ok()
        }
        _ => None,
    }
}

/// Returns whether integers may be there that the reader makes floats of: those beyond 64 bits, which have 19 digits
/// or more, and `-0`. It may be wrong in one way: such text may be in a string.
fn has_long_integers(bytes: &[u8]) -> bool {
    let mut parts = bytes.split(|byte| !byte.is_ascii_digit());
    parts.any(|digits| digits.len() >= 19) || bytes.windows(2).any(|pair| pair == b"-0")
}

/// Returns the term of a number; `None` if it is an integer of too many digits.
fn number<'a>(env: Env<'a>, text: &str) -> Option<Term<'a>> {
    if text.contains(['.', 'e', 'E']) {
        return serde_json::from_str::<f64>(text)
            .ok()
            .map(|float| float.encode(env));
    }
    if let Ok(small) = text.parse::<i64>() {
        return Some(small.encode(env));
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() > DIGITS_MAX {
        return None;
    }
    term::integer(env, text.starts_with('-'), &base_256(digits))
}

/// Returns the big-endian base-256 digits of decimal ones.
fn base_256(decimals: &str) -> Vec<u8> {
    // Limbs of 32 bits, the lowest first.
    let mut limbs: Vec<u32> = Vec::new();
    for part in decimals.as_bytes().chunks(9) {
        let scale = 10u64.pow(part.len() as u32);
        let mut carry = part
            .iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        for limb in &mut limbs {
            carry += u64::from(*limb) * scale;
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    }
    limbs
        .iter()
        .rev()
        .flat_map(|limb| limb.to_be_bytes())
        .collect()
}

struct Seed<'a> {
    env: Env<'a>,
    existing_atoms: bool,
    /// True if numbers are read as text, so that none is rounded. Lists and maps are then read once more for each list
    /// and map around them.
    exact: bool,
    depth: usize,
}

impl<'a> Seed<'a> {
    fn below<E: de::Error>(&self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).filter(|&depth| depth > 0);
        Ok(Self {
            depth: depth.ok_or_else(|| E::custom("too deep"))?,
            ..*self
        })
    }

    /// Returns the key of a map; `None` for the names that the tracker itself writes into a meta.
    fn name(&self, name: &str) -> Option<Term<'a>> {
        let is_meta = self.depth > DEPTH_MAX;
        if is_meta && matches!(name, "phx_ref" | "phx_ref_prev") {
            return None;
        }
        let existing = || Atom::existing_from_utf8_bytes(self.env, name.as_bytes()).ok();
        let atom = self.existing_atoms.then(existing).flatten();
        Some(atom.map_or_else(|| name.encode(self.env), |atom| atom.to_term(self.env)))
    }
}

impl<'de, 'a> DeserializeSeed<'de> for Seed<'a> {
    type Value = Term<'a>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Term<'a>, D::Error> {
        if !self.exact {
            return json.deserialize_any(self);
        }
        let text = <&RawValue>::deserialize(json)?.get();
        if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            let number = number(self.env, text);
            return number.ok_or_else(|| de::Error::custom("not a number of Erlang"));
        }
        serde_json::Deserializer::from_str(text)
            .deserialize_any(self)
            .map_err(de::Error::custom)
    }
}

impl<'de, 'a> Visitor<'de> for Seed<'a> {
    type Value = Term<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JSON")
    }

    fn visit_unit<E>(self) -> Result<Term<'a>, E> {
        Ok(atoms::nil().to_term(self.env))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Term<'a>, E> {
        Ok(value.encode(self.env))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Term<'a>, E> {
        Ok(value.encode(self.env))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Term<'a>, E> {
        Ok(value.encode(self.env))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Term<'a>, E> {
        Ok(value.encode(self.env))
    }

    fn visit_str<E>(self, value: &str) -> Result<Term<'a>, E> {
        Ok(value.encode(self.env))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Term<'a>, A::Error> {
        let mut terms = Vec::new();
        while let Some(term) = items.next_element_seed(self.below()?)? {
            terms.push(term);
        }
        Ok(terms.encode(self.env))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Term<'a>, A::Error> {
        let mut map = Term::map_new(self.env);
        while let Some(name) = fields.next_key::<Cow<'_, str>>()? {
            let value = fields.next_value_seed(self.below()?)?;
            if let Some(name) = self.name(&name) {
                map = map
                    .map_put(name, value)
                    .map_err(|_| de::Error::custom("not a map"))?;
            }
        }
        Ok(map)
    }
}
