//! A table of members and its lists against a plain copy that filters and sorts.

use headcount::member_list::TextId;
use proptest::prelude::*;

use crate::support::list_keys::{FromNumber, Keys};
use crate::support::table_world::TableWorld;

fn table_equals_its_copy<I: FromNumber>(seed: u64, keys: Keys, steps: usize) {
    let ids = [40, 300, 900][(seed % 3) as usize];
    let mut world = TableWorld::<I>::whole(seed, keys, ids);
    (0..seed % 7).for_each(|_| world.add_list());
    // A table that is full before most lists are made.
    (0..seed / 8 % 400).for_each(|_| world.upsert());
    for step in 0..steps {
        world.change();
        if step % 101 == 0 {
            world.check();
        }
    }
    world.check();
    world.build_all();
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn lists_of_numbers_equal_a_filtered_and_sorted_copy(seed: u64, keys in Keys::any()) {
        table_equals_its_copy::<u64>(seed, keys, 500);
    }

    #[test]
    fn lists_of_uuids_equal_a_filtered_and_sorted_copy(seed: u64, keys in Keys::any()) {
        table_equals_its_copy::<u128>(seed, keys, 500);
    }

    #[test]
    fn lists_of_text_ids_equal_a_filtered_and_sorted_copy(seed: u64, keys in Keys::any()) {
        table_equals_its_copy::<TextId>(seed, keys, 500);
    }
}

#[test]
fn lists_of_thousands_of_groups_equal_a_filtered_and_sorted_copy() {
    let mut world = TableWorld::<u64>::new(7, Keys::Mixed, 30).with_many_groups();
    (0..3).for_each(|_| world.add_list());
    (0..60).for_each(|_| world.change());
    world.build_all();
    world.check();
}

/// One table after the other, of all kinds of ids and keys. `HEADCOUNT_TABLE_STEPS` makes it longer.
#[test]
fn tables_equal_their_copies_for_long() {
    const LIFE: usize = 1_000;
    let steps = std::env::var("HEADCOUNT_TABLE_STEPS").ok();
    let steps = steps.and_then(|steps| steps.parse().ok()).unwrap_or(15_000);
    for life in 0..steps / LIFE {
        let keys = Keys::ALL[life % Keys::ALL.len()];
        let seed = 0x9e37_79b9 * life as u64;
        println!("SEED={seed} {keys:?}");
        match life % 3 {
            0 => table_equals_its_copy::<u64>(seed, keys, LIFE),
            1 => table_equals_its_copy::<u128>(seed, keys, LIFE),
            _ => table_equals_its_copy::<TextId>(seed, keys, LIFE),
        }
    }
}
