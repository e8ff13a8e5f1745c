//! Members as products have them: nicknames of which a third is shared, long common beginnings,
//! letters of many scripts.

use crate::list::Rng;

/// The number of given names, the commonest first.
const GIVEN: usize = 5_000;
/// The share of the members who use a mere given name, in percent.
const PLAIN_PERCENT: usize = 32;

/// The nicknames of members 0 to n - 1, in one allocation.
#[derive(Debug)]
pub struct Nicknames {
    text: String,
    ends: Vec<u32>,
}

impl Nicknames {
    /// Draws `n` nicknames: about 32 % are shared by several members, the others have a word or a
    /// number behind the given name.
    ///
    /// # Panics
    /// If they take more than 4 GiB.
    #[must_use]
    pub fn new(n: usize, seed: u64) -> Self {
        use std::fmt::Write as _;
        let given: Vec<String> = (0..GIVEN).map(given_name).collect();
        let mut rng = Rng::new(seed);
        let mut text = String::with_capacity(n * 12);
        let mut ends = Vec::with_capacity(n);
        for _ in 0..n {
            // The smaller of two draws: some names are common, most are rare.
            let at = rng.below(GIVEN).min(rng.below(GIVEN));
            text.push_str(&given[at]);
            if rng.below(100) >= PLAIN_PERCENT {
                let separator = ["", "_", ".", " "][rng.below(4)];
                let number = rng.below(10_000_000);
                write!(text, "{separator}{number}").expect("memory takes everything");
            }
            ends.push(u32::try_from(text.len()).expect("at most 4 GiB of names"));
        }
        Self { text, ends }
    }

    /// Returns the nickname of a member.
    #[must_use]
    pub fn of(&self, member: u64) -> &str {
        let at = member as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[at] as usize]
    }

    /// Returns the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Returns a given name: two or three syllables, every eighth with a letter outside ASCII.
fn given_name(at: usize) -> String {
    const STARTS: [&str; 18] = [
        "an", "be", "ca", "da", "el", "fi", "ga", "ha", "is", "jo", "ka", "li", "ma", "ni", "os",
        "pe", "ru", "sa",
    ];
    const MIDDLES: [&str; 16] = [
        "na", "ri", "lo", "mi", "ra", "to", "vi", "zé", "la", "shu", "ber", "no", "ка", "li", "ö",
        "do",
    ];
    const ENDS: [&str; 18] = [
        "", "a", "n", "s", "lie", "ra", "us", "to", "ne", "k", "ß", "mir", "ta", "o", "y", "el",
        "ine", "さん",
    ];
    let mut at = at;
    let mut draw = |words: &[&'static str]| {
        let word = words[at % words.len()];
        at /= words.len();
        word
    };
    [draw(&STARTS), draw(&MIDDLES), draw(&ENDS)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_third_of_the_names_is_shared_and_some_are_not_ascii() {
        let names = Nicknames::new(100_000, 1);
        let mut holders: HashMap<&str, usize> = HashMap::new();
        for member in 0..names.len() as u64 {
            *holders.entry(names.of(member)).or_default() += 1;
        }
        let shared: usize = holders.values().filter(|&&holders| holders > 1).sum();
        assert!((30_000..36_000).contains(&shared), "{shared} shared");
        assert!(holders.keys().any(|name| !name.is_ascii()));
        assert!(holders.keys().all(|name| !name.is_empty()));
    }
}
