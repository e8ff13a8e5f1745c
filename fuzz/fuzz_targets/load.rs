//! The property `load` under libFuzzer; without it, a replayer of the corpus.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| headcount_fuzz::load(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    headcount_fuzz::main("load", headcount_fuzz::load)
}
