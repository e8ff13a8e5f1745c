//! Numbers for origins, which are shorter than the origins themselves.

use hashbrown::HashMap;

use crate::id::Origin;

/// A number for each origin that a session has, for as long as one has it.
#[derive(Debug, Default)]
pub(super) struct Origins {
    numbers: HashMap<Origin, u32>,
    /// By number: the origin, and how many sessions have it.
    counted: Vec<(Origin, usize)>,
    /// Numbers without sessions.
    free: Vec<u32>,
}

impl Origins {
    /// Returns the number of an origin that a session has. O(1).
    pub(super) fn find(&self, origin: &Origin) -> Option<u32> {
        self.numbers.get(origin).copied()
    }

    /// Returns the number of an origin for one more session. O(1).
    pub(super) fn hold(&mut self, origin: &Origin) -> u32 {
        if let Some(number) = self.find(origin) {
            self.counted[number as usize].1 += 1;
            return number;
        }
        let counted = (origin.clone(), 1);
        let number = match self.free.pop() {
            Some(number) => {
                self.counted[number as usize] = counted;
                number
            }
            None => {
                self.counted.push(counted);
                u32::try_from(self.counted.len() - 1).expect("memory ends before the numbers do")
            }
        };
        self.numbers.insert(origin.clone(), number);
        number
    }

    /// Gives up the number of one session. O(1).
    pub(super) fn release(&mut self, number: u32) {
        let (origin, count) = &mut self.counted[number as usize];
        *count -= 1;
        if *count == 0 {
            self.numbers.remove(origin);
            self.free.push(number);
        }
    }

    /// Returns the origin of a number that a session has. O(1).
    pub(super) fn get(&self, number: u32) -> &Origin {
        &self.counted[number as usize].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReplicaId;

    #[test]
    fn numbers_are_used_again() {
        let mut origins = Origins::default();
        let made = |name: &str| Origin {
            replica: ReplicaId::new(name, 1, 0).unwrap(),
            partition: 0,
        };
        let a = origins.hold(&made("a"));
        let b = origins.hold(&made("b"));
        assert_eq!(origins.hold(&made("a")), a);
        origins.release(a);
        assert_eq!(origins.find(&made("a")), Some(a));
        origins.release(a);
        assert_eq!(origins.find(&made("a")), None);
        assert_eq!(origins.hold(&made("c")), a);
        assert_eq!(origins.get(a), &made("c"));
        assert_eq!(origins.find(&made("b")), Some(b));
    }
}
