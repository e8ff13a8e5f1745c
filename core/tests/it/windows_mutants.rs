//! Rules of windows, each broken on purpose: a model of a list notices every one.

use headcount::testing::Fault;

use crate::support::broken_rules::is_noticed;
use crate::support::list_keys::Keys;
use crate::{
    member_table_windows, windows, windows_resume_model, windows_search, windows_skips,
    windows_vectors,
};

/// The seeds that each model is run with.
const SEEDS: u64 = 24;

/// Runs a model with a seed. It panics if a client shows anything else than its list.
type Model = fn(u64);

const MODELS: [Model; 9] = [
    |seed| {
        windows::run_exact(seed, 150);
    },
    |seed| windows::run_faulty(seed, 150),
    windows_search::clients_hold_what_is_found,
    |seed| resume(seed, 0),
    |seed| resume(seed, 4),
    |seed| member_table_windows::clients_hold_their_list(seed, 0),
    |seed| member_table_windows::clients_hold_their_list(seed, 4),
    |seed| {
        windows_skips::run(seed, 150, false);
    },
    |seed| {
        windows_skips::run(seed, 150, true);
    },
];

/// Tests of rules that no random run shows to be broken.
const RULES: [fn(); 4] = [
    windows_resume_model::a_lost_last_frame_is_noticed_within_30_s,
    windows_search::a_search_is_published_at_most_once_a_second,
    windows_vectors::list_frame_vectors_hold,
    windows_skips::a_name_that_goes_from_window_to_window_makes_them_no_single_one,
];

fn resume(seed: u64, faults: usize) {
    let worlds = windows_resume_model::worlds::<u64>(seed, Keys::Few, |id| id);
    windows_resume_model::run(worlds, faults);
}

#[test]
fn every_broken_rule_of_windows_is_noticed() {
    let is_missed = |fault: &&Fault| {
        let mut runs = (0..SEEDS).flat_map(|seed| MODELS.map(|model| (model, seed)));
        !RULES.iter().any(|rule| is_noticed(**fault, rule))
            && !runs.any(|(model, seed)| is_noticed(**fault, || model(seed)))
    };
    let missed: Vec<_> = Fault::WINDOWS.iter().filter(is_missed).collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
