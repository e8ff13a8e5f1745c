//! Integers of any size and floats on one scale: base-256 digits behind a tag that carries their number.

use super::{ABOVE, BELOW};

/// `(-1, 0)` and `(0, 1)` hold no integer, so there the bits of the float sort by themselves.
const BIG_NEGATIVE: u8 = 0x10;
const NEGATIVE_FRACTION: u8 = 0x19;
const ZERO: u8 = 0x1A;
const POSITIVE_FRACTION: u8 = 0x1B;
/// `POSITIVE + n` is a number with n digits, n = 1..=8; likewise `NEGATIVE - n`.
const POSITIVE: u8 = 0x1B;
const NEGATIVE: u8 = 0x19;
const BIG_POSITIVE: u8 = 0x24;
/// All floats sort after all integers in keys of maps, where a float never equals an integer.
const EXACT_FLOAT: u8 = 0x26;

pub(super) const TAGS: std::ops::RangeInclusive<u8> = BIG_NEGATIVE..=EXACT_FLOAT;

/// Digits of the fraction behind the integral digits of a float: 52 bits at most.
const FRACTION: usize = 7;

/// The meaning of a float's place on the scale.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// It shares its place with an integer.
    Integral,
    /// No integer is there.
    Fractional,
}

pub(super) fn push_i64(out: &mut Vec<u8>, n: i64) {
    let digits = n.unsigned_abs().to_be_bytes();
    push_integer(out, n < 0, &digits);
}

/// Big-endian base-256 digits; leading zeroes are skipped.
pub(super) fn push_integer(out: &mut Vec<u8>, negative: bool, digits: &[u8]) {
    let first = digits.iter().position(|&d| d != 0).unwrap_or(digits.len());
    let digits = &digits[first..];
    let mask = if negative { 0xFF } else { 0 };
    match digits.len() {
        0 => return out.push(ZERO),
        n @ 1..=8 if negative => out.push(NEGATIVE - n as u8),
        n @ 1..=8 => out.push(POSITIVE + n as u8),
        n => {
            out.push(if negative { BIG_NEGATIVE } else { BIG_POSITIVE });
            out.extend((n as u32).to_be_bytes().map(|byte| byte ^ mask));
        }
    }
    out.extend(digits.iter().map(|digit| digit ^ mask));
}

/// A finite float on the scale of the integers.
pub(super) fn push_float(out: &mut Vec<u8>, float: f64) -> Scale {
    let size = float.abs();
    let negative = float < 0.0;
    if size == 0.0 {
        out.push(ZERO);
        return Scale::Integral;
    }
    if size < 1.0 {
        out.push(if negative {
            NEGATIVE_FRACTION
        } else {
            POSITIVE_FRACTION
        });
        out.extend(sortable(float));
        return Scale::Fractional;
    }
    let (mantissa, exponent) = parts(size);
    if exponent >= 0 {
        push_integer(out, negative, &shifted(mantissa, exponent as usize));
        return Scale::Integral;
    }
    let below = -exponent as u32;
    let fraction = (mantissa & ((1 << below) - 1)) << (8 * FRACTION as u32 - below);
    push_integer(out, negative, &(mantissa >> below).to_be_bytes());
    if fraction == 0 {
        return Scale::Integral;
    }
    let mask = if negative { 0xFF } else { 0 };
    out.push(if negative { BELOW } else { ABOVE });
    out.extend(fraction.to_be_bytes()[1..].iter().map(|digit| digit ^ mask));
    Scale::Fractional
}

/// A finite float behind all integers.
pub(super) fn push_exact_float(out: &mut Vec<u8>, float: f64) {
    out.push(EXACT_FLOAT);
    out.extend(sortable(float));
}

/// A number as it is read.
pub(super) enum Number<'a> {
    Small(i64),
    /// Sign and big-endian digits of an integer beyond 64 bits.
    Big(bool, std::borrow::Cow<'a, [u8]>),
    Float(f64),
}

/// As [`read`], for small integers, as most numbers are; `None` for others.
#[inline]
pub(super) fn read_short(bytes: &[u8]) -> Option<(i64, usize)> {
    let tag = *bytes.first()?;
    let (len, mask, fraction) = match tag {
        ZERO => return Some((0, 1)),
        _ if (POSITIVE + 1..=POSITIVE + 8).contains(&tag) => (tag - POSITIVE, 0, ABOVE),
        _ if (NEGATIVE - 8..NEGATIVE).contains(&tag) => (NEGATIVE - tag, 0xFF, BELOW),
        _ => return None,
    };
    let len = usize::from(len);
    if len < 8 && bytes.get(len + 1) == Some(&fraction) {
        return None;
    }
    let digits = bytes.get(1..=len)?.iter();
    let size = digits.fold(0u64, |size, digit| size << 8 | u64::from(digit ^ mask));
    let number = i64::try_from(size).ok()?;
    Some((if mask == 0 { number } else { -number }, len + 1))
}

/// Reads the number at the start of `bytes`; returns it with its length. `None` for bytes that the writers of this
/// module never produce.
pub(super) fn read(bytes: &[u8]) -> Option<(Number<'_>, usize)> {
    let tag = *bytes.first()?;
    if [NEGATIVE_FRACTION, POSITIVE_FRACTION, EXACT_FLOAT].contains(&tag) {
        let raw: [u8; 8] = bytes.get(1..9)?.try_into().ok()?;
        return Some((Number::Float(unsortable(raw)), 9));
    }
    let negative = tag < ZERO;
    let mask = if negative { 0xFF } else { 0 };
    let (start, len) = match tag {
        ZERO => return Some((Number::Small(0), 1)),
        BIG_NEGATIVE | BIG_POSITIVE => {
            let len: [u8; 4] = bytes.get(1..5)?.try_into().ok()?;
            (5, u32::from_be_bytes(len.map(|byte| byte ^ mask)) as usize)
        }
        _ if negative => (1, usize::from(NEGATIVE - tag)),
        _ => (1, usize::from(tag - POSITIVE)),
    };
    let digits = bytes.get(start..start + len)?;
    let end = start + len;
    if bytes.get(end) == Some(if negative { &BELOW } else { &ABOVE }) && len < 8 {
        let fraction = bytes.get(end + 1..end + 1 + FRACTION)?;
        let float = value(digits, mask) + value(fraction, mask) / 2f64.powi(8 * FRACTION as i32);
        return Some((
            Number::Float(if negative { -float } else { float }),
            end + 1 + FRACTION,
        ));
    }
    Some((integer(digits, negative, mask), end))
}

/// Returns the float that an integer's place stands for, where the trailer says that it is one.
pub(super) fn as_float(number: &Number<'_>) -> f64 {
    match number {
        Number::Small(n) => *n as f64,
        Number::Float(float) => *float,
        Number::Big(negative, digits) => {
            let size = value(digits, 0);
            if *negative { -size } else { size }
        }
    }
}

fn integer(digits: &[u8], negative: bool, mask: u8) -> Number<'_> {
    if digits.len() <= 8 {
        let size = digits
            .iter()
            .fold(0u64, |sum, digit| sum << 8 | u64::from(digit ^ mask));
        let value = if negative {
            0i128 - i128::from(size)
        } else {
            i128::from(size)
        };
        if let Ok(small) = i64::try_from(value) {
            return Number::Small(small);
        }
    }
    Number::Big(
        negative,
        if mask == 0 {
            digits.into()
        } else {
            digits.iter().map(|digit| !digit).collect()
        },
    )
}

/// Exact for what was a float: its digits hold 53 significant bits.
fn value(digits: &[u8], mask: u8) -> f64 {
    digits
        .iter()
        .fold(0.0, |sum, digit| sum * 256.0 + f64::from(digit ^ mask))
}

/// `size = mantissa * 2^exponent` for a finite size of at least 1.
fn parts(size: f64) -> (u64, i32) {
    let bits = size.to_bits();
    (
        (bits & ((1 << 52) - 1)) | 1 << 52,
        (bits >> 52) as i32 - 1075,
    )
}

fn shifted(mantissa: u64, exponent: usize) -> Vec<u8> {
    let wide = u128::from(mantissa) << (exponent % 8);
    let mut digits = wide.to_be_bytes().to_vec();
    digits.resize(digits.len() + exponent / 8, 0);
    digits
}

/// Returns the bits of a float in an order that `memcmp` keeps. Negative zero is zero.
fn sortable(float: f64) -> [u8; 8] {
    let bits = (float + 0.0).to_bits();
    (if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    })
    .to_be_bytes()
}

fn unsortable(bytes: [u8; 8]) -> f64 {
    let bits = u64::from_be_bytes(bytes);
    f64::from_bits(if bits >> 63 == 1 {
        bits & !(1 << 63)
    } else {
        !bits
    })
}
