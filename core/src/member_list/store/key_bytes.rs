//! The bytes of sort keys as numbers whose order is theirs.

/// Bytes of a key that one number holds; also those of the common beginning that a run keeps
/// itself.
pub(in crate::member_list) const HEAD: usize = 16;

/// Returns the 16 bytes of a key after its first `common` ones, zeros where it ends.
#[inline]
pub(in crate::member_list) fn rest(key: &[u8], common: usize) -> u128 {
    head(key.get(common..).unwrap_or(&[]))
}

/// The first bytes of a [`rest`] as a number whose order is theirs.
#[inline]
pub(in crate::member_list) fn number(text: bool, rest: u128) -> u64 {
    if text {
        codes(rest, CODED)
    } else {
        (rest >> 64) as u64
    }
}

/// Returns the first 16 bytes of a key as a number.
#[inline]
pub(in crate::member_list) fn head(key: &[u8]) -> u128 {
    let mut bytes = [0; HEAD];
    let len = key.len().min(HEAD);
    bytes[..len].copy_from_slice(&key[..len]);
    u128::from_be_bytes(bytes)
}

/// The part of a head that is common.
#[inline]
pub(in crate::member_list) fn mask(common: usize) -> u128 {
    !(u128::MAX.checked_shr(common as u32 * 8).unwrap_or(0))
}

/// Returns in how many bytes two keys agree from the beginning.
pub(in crate::member_list) fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Bits of a code of text.
pub(in crate::member_list) const CODE_BITS: usize = 6;
/// Bytes that a number of codes is made of.
pub(in crate::member_list) const CODED: usize = 10;

/// Returns whether the bytes that tags are made of look like text.
pub(in crate::member_list) fn is_text(key: &[u8], common: usize) -> bool {
    let mut bytes = key.iter().skip(common).take(3);
    bytes.all(|byte| (b' '..=b'z').contains(byte))
}

/// The first `coded` bytes of a key as codes of six bits, in an order that is never against that of
/// the keys. Blanks, digits and small letters are told apart, other bytes only by their class:
/// there the codes end, because the bytes after it do not order keys that differ in such a byte.
#[inline]
pub(in crate::member_list) fn codes(rest: u128, coded: usize) -> u64 {
    let mut codes = 0;
    let mut more = u8::MAX;
    for byte in &rest.to_be_bytes()[..coded] {
        let code = CODES[usize::from(*byte)] & more;
        codes = codes << CODE_BITS | u64::from(code & (EXACT - 1));
        more = if code < EXACT { 0 } else { more };
    }
    codes << (u64::BITS as usize - CODE_BITS * coded)
}

/// The top bit of a code that belongs to one byte only.
const EXACT: u8 = 0x80;

static CODES: [u8; 256] = code_table();

const fn code_table() -> [u8; 256] {
    let mut codes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        codes[byte] = match byte as u8 {
            0..=0x1f => 0,
            b' ' => EXACT | 1,
            0x21..=0x2f => 2,
            digit @ b'0'..=b'9' => EXACT | (3 + digit - b'0'),
            0x3a..=0x60 => 13,
            letter @ b'a'..=b'z' => EXACT | (14 + letter - b'a'),
            0x7b..=0x7f => 40,
            high => 41 + (high - 0x80) / 8,
        };
        byte += 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_never_against_the_order_of_keys() {
        let bytes = [
            0, 1, b' ', b'-', b'.', b'7', b'A', b'B', b'a', b'z', 0x7f, 0xa9, 0xaa,
        ];
        let mut keys = vec![Vec::new()];
        for len in 0..3 {
            let shorter: Vec<Vec<u8>> = keys
                .iter()
                .filter(|key| key.len() == len)
                .cloned()
                .collect();
            for key in shorter {
                keys.extend(bytes.iter().map(|&byte| [&key[..], &[byte]].concat()));
            }
        }
        keys.sort();
        assert!(keys.iter().map(|key| codes(head(key), CODED)).is_sorted());
        assert!(codes(head(b"member 1"), CODED) < codes(head(b"member 2"), CODED));
    }
}
