//! Keys and ids like those of real lists, for the tests of the order.

use headcount::SortKey;
use headcount::member_list::{Id, IntId, TextId};
use proptest::prelude::*;

/// A kind of sort key. Most share more leading bytes than a leaf of the tree stores of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    /// Short keys, long keys with a common prefix, keys that differ in zeros only.
    Mixed,
    /// A Japanese company, a department and a person.
    Company,
    /// One of four long names of branches, and two letters: neighbouring leaves look alike.
    Branch,
    /// "Support Engineer, Team A 17"
    Team,
    /// "guild member number 123"
    Guild,
    Url,
    /// A rank, the time of joining in milliseconds, two letters.
    RankTimeName,
    /// A rank, a zero, a time in whole minutes.
    Minutes,
    /// 64 bytes, which differ in the last three only.
    Longest,
    /// Few names, one of them empty: ids decide the order.
    Few,
}

impl Keys {
    pub(crate) const ALL: [Self; 10] = [
        Self::Mixed,
        Self::Company,
        Self::Branch,
        Self::Team,
        Self::Guild,
        Self::Url,
        Self::RankTimeName,
        Self::Minutes,
        Self::Longest,
        Self::Few,
    ];

    /// Any kind.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        prop::sample::select(&Self::ALL[..])
    }

    /// Returns the key of a number; equal numbers have equal keys.
    pub(crate) fn key(self, number: u64) -> SortKey {
        let letter = |number: u64| b'a' + (number % 26) as u8;
        match self {
            Self::Mixed => mixed(number),
            Self::Company => {
                let person = ["田中", "佐藤", "鈴木", "高橋", "伊藤"][(number % 5) as usize];
                let department = number / 5 % 60;
                SortKey::from_name(&format!("株式会社ヘッドカウント{department:02}部 {person}"))
            }
            Self::Branch => {
                let branch = ["Bonn", "Gera", "Jena", "Kiel"][(number % 4) as usize];
                let name = [number / 4, number / 104].map(|n| char::from(letter(n)));
                let [first, second] = name;
                SortKey::from_name(&format!("Beispielgesellschaft {branch} {first}{second}"))
            }
            Self::Team => {
                let team = char::from(letter(number)).to_uppercase();
                SortKey::from_name(&format!("Support Engineer, Team {team} {}", number / 26))
            }
            Self::Guild => SortKey::from_name(&format!("guild member number {number}")),
            Self::Url => SortKey::from_name(&format!("https://example.org/u/{number}")),
            Self::RankTimeName => {
                let joined = 1_790_000_000_000 + number % 50;
                let name = [letter(number), letter(number / 26)];
                raw(&[&3u64.to_be_bytes(), &joined.to_be_bytes(), &name])
            }
            Self::Minutes => {
                let minute = (number % 3000 * 60).to_be_bytes();
                raw(&[&3u64.to_be_bytes(), &0u64.to_be_bytes(), &minute])
            }
            Self::Longest => raw(&[&[0xe5; 61], &number.to_be_bytes()[5..]]),
            Self::Few => SortKey::from_name(["", "Zoë", "zoe", "王小明"][(number % 4) as usize]),
        }
    }
}

fn raw(parts: &[&[u8]]) -> SortKey {
    SortKey::raw(&parts.concat()).unwrap()
}

fn mixed(number: u64) -> SortKey {
    let name = format!("Member {number:03} of the list");
    match number % 4 {
        0 => SortKey::from_name(&name),
        1 => SortKey::from_name(&name[7..10]),
        // Bytes that no leading code distinguishes, with more after them.
        2 => raw(&[&[b'A' + (number % 7) as u8, b'z' - (number / 12 % 90) as u8]]),
        _ => raw(&[&vec![0; (number % 65) as usize]]),
    }
}

/// An id made from a number. Only for `u64` is the order that of the numbers.
pub(crate) trait FromNumber: Id {
    fn from_number(number: u64) -> Self;
}

impl FromNumber for u64 {
    fn from_number(number: u64) -> Self {
        number
    }
}

/// Integers below 0, small ones, and those that no `i64` holds.
impl FromNumber for IntId {
    fn from_number(number: u64) -> Self {
        match number % 3 {
            0 => Self::from(-1 - number.cast_signed()),
            1 => Self::from(number),
            _ => Self::from(u64::MAX - number),
        }
    }
}

/// A UUID of random bits.
impl FromNumber for u128 {
    fn from_number(number: u64) -> Self {
        Self::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

impl FromNumber for TextId {
    fn from_number(number: u64) -> Self {
        format!("user-{number}").parse().unwrap()
    }
}
