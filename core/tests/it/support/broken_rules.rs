//! Tests while a rule is broken on purpose: they are to fail.

use std::panic::{UnwindSafe, catch_unwind};

use headcount::testing::{Fault, with_fault};

/// Returns whether a test fails while a rule is broken.
pub(crate) fn is_noticed(fault: Fault, test: impl FnOnce() + UnwindSafe) -> bool {
    catch_unwind(|| with_fault(fault, test)).is_err()
}

/// Checks that each test fails while its rule is broken.
///
/// # Panics
///
/// Panics with the rules whose tests pass.
pub(crate) fn check(tests: &[(Fault, fn())]) {
    let passes = |(fault, test): &&(Fault, fn())| !is_noticed(*fault, test);
    let missed = tests.iter().filter(passes).map(|(fault, _)| fault);
    let missed: Vec<_> = missed.collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
