//! Owners as bytes: a pid takes at most 64, whatever its node is called.
//!
//! The external format of a pid holds the name of its node, of up to 255 bytes. An entry already has the name of its
//! replica, which as a rule is that of the node: such a pid is written without it. The name of any other
//! node is cut, with a hash for the missing part; nodes that know the full name restore it.

use parking_lot::RwLock;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The version byte of the external term format.
pub(crate) const EXTERNAL: u8 = 131;
const NEW_PID: u8 = 88;
/// The four forms of an atom.
const ATOM_LATIN1: u8 = 100;
const SMALL_ATOM_LATIN1: u8 = 115;
const ATOM_UTF8: u8 = 118;
const SMALL_ATOM_UTF8: u8 = 119;
/// Bytes of id, serial and creation of a pid.
const NUMBERS_LEN: usize = 12;
/// Longest name of a node in a pid in the external format: 64 bytes in all.
const NODE_MAX: usize = 48;
/// Longest name of a node in a pid as text, behind the prefix and three numbers of ten digits.
const TEXT_NODE_MAX: usize = 24;
/// Longest name of a replica.
const REPLICA_MAX: usize = 64;
/// Bytes of a mark and the hash behind it, at the end of a name that was cut.
const HASH_LEN: usize = 1 + 16;
/// Most names of nodes that are remembered.
const NODES_MAX: usize = 65_536;

/// Full names of nodes by the hash that stands in for them.
static NODES: LazyLock<RwLock<HashMap<u64, Box<str>>>> = LazyLock::new(RwLock::default);

/// Returns the name itself, or its beginning, `~`, and its hash: `max` bytes at most.
pub(crate) fn short(name: &str, max: usize) -> Cow<'_, str> {
    if name.len() <= max {
        return Cow::Borrowed(name);
    }
    let mut end = max - HASH_LEN;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}~{:016x}", &name[..end], hash(name)))
}

/// Returns the name of the replica of a node.
pub(crate) fn replica_name(node: &str) -> Cow<'_, str> {
    short(node, REPLICA_MAX)
}

/// Remembers a node, so that its name that was cut can be restored.
pub(crate) fn remember(node: &str) {
    let mut nodes = NODES.write();
    if node.len() > TEXT_NODE_MAX && nodes.len() < NODES_MAX {
        nodes.insert(hash(node), node.into());
    }
}

/// Returns the FNV-1a hash, which is the same in all versions.
fn hash(name: &str) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    name.as_bytes().iter().fold(0xCBF2_9CE4_8422_2325, step)
}

/// Returns the full name of a node; the given name if no longer one is known.
fn full(name: &str) -> String {
    let digits = name.rsplit_once('~').map(|(_, digits)| digits);
    let hash = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let known = hash.and_then(|hash| NODES.read().get(&hash).cloned());
    known.map_or_else(|| name.to_owned(), String::from)
}

/// A pid taken apart.
struct Pid<'a> {
    node: Cow<'a, str>,
    numbers: &'a [u8; NUMBERS_LEN],
}

impl<'a> Pid<'a> {
    /// Reads a pid in the external format; `None` for anything else.
    fn parse(external: &'a [u8]) -> Option<Self> {
        let [EXTERNAL, NEW_PID, form, rest @ ..] = external else {
            return None;
        };
        let (len, rest) = match (*form, rest) {
            (SMALL_ATOM_LATIN1 | SMALL_ATOM_UTF8, [len, rest @ ..]) => (u16::from(*len), rest),
            (ATOM_LATIN1 | ATOM_UTF8, [high, low, rest @ ..]) => {
                (u16::from_be_bytes([*high, *low]), rest)
            }
            _ => return None,
        };
        let (node, numbers) = rest.split_at_checked(usize::from(len))?;
        let node = match *form {
            SMALL_ATOM_UTF8 | ATOM_UTF8 => Cow::Borrowed(std::str::from_utf8(node).ok()?),
            _ => node.iter().copied().map(char::from).collect(),
        };
        let numbers = numbers.try_into().ok()?;
        Some(Self { node, numbers })
    }

    fn external(node: &str, numbers: &[u8; NUMBERS_LEN]) -> Option<Vec<u8>> {
        let len = u8::try_from(node.len()).ok()?;
        let head = [EXTERNAL, NEW_PID, SMALL_ATOM_UTF8, len];
        Some([&head, node.as_bytes(), numbers].concat())
    }
}

/// Returns a pid in the external format, in 64 bytes at most; `None` for anything else. `replica` is the name of the
/// own one.
pub(crate) fn pack(external: &[u8], replica: &str) -> Option<Vec<u8>> {
    let pid = Pid::parse(external)?;
    let node = node_of(&pid, replica, NODE_MAX);
    Pid::external(&node, pid.numbers)
}

/// As [`pack`], but returns text: `id.serial.creation`, with `@node` for the pid of another node.
pub(crate) fn pack_text(external: &[u8], replica: &str) -> Option<String> {
    let pid = Pid::parse(external)?;
    let number = |at: usize| {
        let bytes = pid.numbers[at..at + 4].try_into();
        bytes.map_or(0, u32::from_be_bytes)
    };
    let id = number(0);
    let serial = number(4);
    let creation = number(8);
    let mut text = format!("{id}.{serial}.{creation}");
    let node = node_of(&pid, replica, TEXT_NODE_MAX);
    if !node.is_empty() {
        text.push('@');
        text.push_str(&node);
    }
    Some(text)
}

fn node_of<'a>(pid: &'a Pid<'_>, replica: &str, max: usize) -> Cow<'a, str> {
    if replica_name(&pid.node) == replica {
        Cow::Borrowed("")
    } else {
        short(&pid.node, max)
    }
}

/// Returns the argument of [`pack`] from an owner of an entry of `replica`.
pub(crate) fn unpack(packed: &[u8], replica: &str) -> Option<Vec<u8>> {
    let pid = Pid::parse(packed)?;
    let node = if pid.node.is_empty() {
        replica
    } else {
        &pid.node
    };
    Pid::external(&full(node), pid.numbers)
}

/// Returns the argument of [`pack_text`] from an owner of an entry of `replica`.
pub(crate) fn unpack_text(packed: &str, replica: &str) -> Option<Vec<u8>> {
    let (numbers, node) = packed.split_once('@').unwrap_or((packed, replica));
    let mut bytes = [0; NUMBERS_LEN];
    let mut given = numbers.split('.');
    for four in bytes.chunks_exact_mut(4) {
        let number: u32 = given.next()?.parse().ok()?;
        four.copy_from_slice(&number.to_be_bytes());
    }
    if given.next().is_some() {
        return None;
    }
    Pid::external(&full(node), &bytes)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns base 64 for URLs, without padding.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word = three
            .iter()
            .fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            let digit = word >> (18 - 6 * place) & 63;
            text.push(char::from(DIGITS[digit as usize]));
        }
    }
    text
}

/// Reads base 64; `None` for text that [`to_base64`] does not write.
pub(crate) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for four in text.chunks(4) {
        let mut word = 0u32;
        for byte in four {
            let digit = DIGITS.iter().position(|digit| digit == byte)?;
            word = word << 6 | u32::try_from(digit).ok()?;
        }
        let word = word << (6 * (4 - four.len()));
        bytes.extend_from_slice(&word.to_be_bytes()[1..four.len()]);
    }
    (to_base64(&bytes).as_bytes() == text).then_some(bytes)
}
