//! The fixed properties of the `i`-th simulated member: id, name, role.

use uuid::Uuid;

pub(crate) use super::names::name;

/// The first twelve bytes of the ids.
const PREFIX: [u8; 12] = *b"headcountdem";
/// One in this many members is staff, up to `STAFF_MAX`.
const STAFF_EVERY: usize = 50;
const STAFF_MAX: usize = 40;

/// Returns a version 8 UUID: recognisable, the same in every run, and never that of a user.
pub(crate) fn id(i: usize) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..12].copy_from_slice(&PREFIX);
    bytes[12..].copy_from_slice(&u32::try_from(i).unwrap_or(u32::MAX).to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Returns the number of the member with this id; `None` if it is not simulated.
pub(crate) fn index(member: u128) -> Option<usize> {
    let i = (member & u128::from(u32::MAX)) as usize;
    (id(i).as_u128() == member).then_some(i)
}

pub(crate) fn is_staff(i: usize) -> bool {
    i.is_multiple_of(STAFF_EVERY) && i / STAFF_EVERY < STAFF_MAX
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_simulated_member_has_an_id_and_a_name_of_its_own() {
        let ids: HashSet<_> = (0..100_000).map(id).collect();
        let names: HashSet<_> = (0..100_000).map(name).collect();
        assert_eq!((ids.len(), names.len()), (100_000, 100_000));
        assert_eq!(index(id(7).as_u128()), Some(7));
        assert_eq!(index(Uuid::now_v7().as_u128()), None);
        assert_eq!(index(Uuid::new_v4().as_u128()), None);
    }
}
