//! Erlang terms as byte strings that sort like the terms.
//!
//! `memcmp` of two keys gives the Erlang term order, so a set of keys is a sorted set of terms, and one comparison
//! costs a few machine words instead of a walk over two trees. Terms that compare equal but do not match (`1` and
//! `1.0`) stay two members: after the ordered part a key carries the positions of its integral floats.
//!
//! ```text
//! key     = ordered 0x08 [trailer]
//! ordered = number | atom | tuple | map | nil | cons | bitstring       each prefix-free, see the tags below
//! trailer = LEB128 distances between the integral numbers that are floats (first one counted from -1)
//! ```

mod decode;
mod encode;
mod key;
mod number;

pub(crate) use decode::{decode, integer, push};
pub(crate) use encode::{Unencodable, encode};
pub(crate) use key::Key;

/// Deepest nesting of tuples, lists and maps in a member.
pub(crate) const DEPTH_MAX: usize = 128;
/// Longest encoded member in bytes.
pub(crate) const ENCODED_MAX: usize = 16 * 1024 * 1024;
/// The longest that a normal scheduler encodes and decodes, in bytes.
pub(crate) const ENCODED_NORMAL_MAX: usize = 64 * 1024;

/// Bytes below every tag: they continue what stands before them, so that a longer thing can sort first.
const BELOW: u8 = 0x00;
/// The end of the ordered part. Also the lowest tag; 0x01..=0x07 are the bit counts of a bitstring's last byte.
const END: u8 = 0x08;
/// The byte above every tag.
const ABOVE: u8 = 0xFF;

const ATOM: u8 = 0x28;
/// A tuple of up to six elements is `TUPLE + arity`; a larger one `TUPLE + 7` and its arity in four bytes.
const TUPLE: u8 = 0x30;
/// As `TUPLE`, for the size of a map.
const MAP: u8 = 0x40;
const NIL: u8 = 0x50;
const CONS: u8 = 0x51;
const BITSTRING: u8 = 0x60;
/// The largest size that its tag carries.
const SIZE_IN_TAG: usize = 6;
