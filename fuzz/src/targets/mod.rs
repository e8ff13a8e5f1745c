//! The properties.

mod apply;
mod decode;
mod hear;
mod list_frames;
mod load;
mod message;
mod restore;
mod server;

pub use apply::apply;
pub use decode::decode;
pub(crate) use hear::Holds;
pub use hear::hear;
pub use list_frames::list_frames;
pub use load::load;
pub(crate) use message::Message;
pub use restore::restore;
pub use server::{rest, socket};

use headcount::codec::DecodeError;

use crate::meter::peak_of;
pub(crate) use apply::tracker;
pub(crate) use list_frames::clients;
pub(crate) use load::{file_of, saved};

/// A named property.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its program and of its corpus.
    pub name: &'static str,
    /// Panics if the bytes break it.
    pub property: fn(&[u8]),
    /// Mutations of each file of the corpus that the tests try.
    pub mutations: usize,
}

impl Target {
    const fn new(name: &'static str, property: fn(&[u8]), mutations: usize) -> Self {
        Self {
            name,
            property,
            mutations,
        }
    }
}

/// All properties.
pub const TARGETS: &[Target] = &[
    Target::new("decode", decode, 2_000),
    Target::new("apply", apply, 2_000),
    Target::new("hear", hear, 1_000),
    Target::new("restore", restore, 2_000),
    Target::new("list_frames", list_frames, 2_000),
    Target::new("load", load, 2_000),
    Target::new("socket", socket, 200),
    Target::new("rest", rest, 200),
];

/// Bytes that a refusal may allocate beyond twice the input: an error, a replica id, a topic table.
const SLACK: usize = 1024;

/// Bytes that an accepted byte may cost: its record in the tables, and room for them to grow.
const GROWTH: usize = 512;

/// Runs a decoder, and checks that it never allocated more than twice its input.
fn bounded<R>(what: &str, input: &[u8], decode: impl FnOnce() -> R) -> R {
    let (result, peak) = peak_of(decode);
    let bound = 2 * input.len() + SLACK;
    assert!(
        peak <= bound,
        "{what} of {} bytes allocated {peak}, over {bound}",
        input.len()
    );
    result
}

/// Iterates over the steps of a target that takes several inputs: each follows its length in two bytes, and
/// begins with a byte that chooses.
fn steps(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[a, b], rest) = data.split_first_chunk()?;
        let (step, rest) = rest.split_at(usize::from(u16::from_le_bytes([a, b])).min(rest.len()));
        data = rest;
        step.split_first().map(|(&choice, step)| (choice, step))
    })
}

fn within<T>(bytes: &[u8], result: Result<T, DecodeError>) {
    if let Err(error) = result {
        assert!(
            error.offset <= bytes.len(),
            "{error} of {} bytes",
            bytes.len()
        );
    }
}
