//! Writes the seeds of every target into its corpus.

use std::io;

use headcount_fuzz::{TARGETS, write_seeds};

fn main() -> io::Result<()> {
    for target in TARGETS {
        println!(
            "{}: {} seeds written",
            target.name,
            write_seeds(target.name)?
        );
    }
    Ok(())
}
