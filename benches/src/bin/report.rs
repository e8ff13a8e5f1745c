//! Makes the plots and the README's table from the committed results of the city bench.
//!
//!     export HEADCOUNT_BENCH_JSON=benches/results/city-100000.json
//!     cargo bench -p headcount-benches --bench city -- 100000 10000
//!     cargo run -p headcount-benches --bin report

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::Parser;
use headcount_benches::report::{insert, markdown, plot_all, read_all};

/// Draws `city-*.svg` beside the results and writes the README's table.
#[derive(Debug, Parser)]
struct Args {
    /// The directory of the results, files of JSON.
    #[arg(long, default_value = "benches/results")]
    results: PathBuf,
    /// The file with the marks of the table.
    #[arg(long, default_value = "README.md")]
    readme: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let cities = read_all(&args.results)?;
    let largest = cities.last().ok_or("no results")?;
    plot_all(&cities, &args.results)?;
    let readme = fs::read_to_string(&args.readme)?;
    let readme = insert(&readme, &markdown(largest)).ok_or("the README has no marks")?;
    fs::write(&args.readme, readme)?;
    Ok(())
}
