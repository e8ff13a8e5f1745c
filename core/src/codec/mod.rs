//! The byte format of frames: a sealed envelope around values in bincode's standard encoding.
//!
//! An [`Envelope`] seals a body into a frame of one cluster and opens frames: it checks the
//! version, the cluster, the length and the checksum, or with a [`SharedKey`] the MAC. A [`Writer`]
//! and a [`Reader`] write and read the values of a body. Everything that can be wrong with bytes is
//! a [`DecodeError`], which names the offset.
//!
//! ```
//! use headcount::codec::{DecodeErrorKind, Envelope, Kind, SharedKey};
//!
//! let ours = Envelope::new("chat", Some(SharedKey::new([7; 16])));
//! let frame = ours.seal(Kind::SIGNAL, b"typing");
//! assert_eq!(ours.open(&frame)?, (Kind::SIGNAL, &b"typing"[..]));
//!
//! let theirs = Envelope::new("chat", Some(SharedKey::new([8; 16])));
//! let error = theirs.open(&frame).expect_err("another key");
//! assert_eq!(error.kind, DecodeErrorKind::BadChecksum);
//! # Ok::<(), headcount::codec::DecodeError>(())
//! ```
//!
//! A reader borrows from its input: decoding allocates nothing by itself, and every length is
//! checked against the bytes that are there. Integers must be in their shortest form, so the bytes
//! of a value are canonical. `docs/wire-format.md` is the normative description. No other module of
//! the crate names `bincode`.

mod error;
mod frame;
mod value;

pub use error::{DecodeError, DecodeErrorKind};
pub use frame::{
    CLUSTER_LEN_MAX, Envelope, FRAME_OVERHEAD_MAX, Kind, SharedKey, WIRE_MAJOR, WIRE_MINOR,
};
#[cfg(any(test, feature = "testing"))]
pub(crate) use frame::{equal_in_constant_time, mac_of_parts};
pub use value::{Reader, Writer};
