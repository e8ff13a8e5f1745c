//! The byte format of frames: a sealed envelope around values in bincode's standard encoding.
//!
//! An [`Envelope`] seals a body into a frame of one cluster and opens frames: it checks the
//! version, the cluster, the length and the checksum, or with a [`SharedKey`] the MAC. A [`Writer`]
//! and a [`Reader`] write and read the values of a body. Everything that can be wrong with bytes is
//! a [`DecodeError`], which names the offset.
//!
//! ```
//! use headcount::codec::{DecodeError, DecodeErrorKind, Envelope, Kind, Shape, SharedKey};
//!
//! let ours = Envelope::new("chat", Some(SharedKey::new([7; 16])), Shape::default());
//! let frame = ours.seal(Kind::SIGNAL, None, b"typing");
//! assert_eq!(ours.open(&frame)?.body, b"typing");
//!
//! let theirs = Envelope::new("chat", Some(SharedKey::new([8; 16])), Shape::default());
//! let error = DecodeError::from(theirs.open(&frame).expect_err("another key"));
//! assert_eq!(error.kind, DecodeErrorKind::BadChecksum);
//! # Ok::<(), headcount::codec::OpenError>(())
//! ```
//!
//! A reader borrows from its input: decoding allocates nothing by itself, and every length is
//! checked against the bytes that are there. Integers must be in their shortest form, so the bytes
//! of a value are canonical. `docs/wire-format.md` is the normative description. No other module of
//! the crate names `bincode`.

mod error;
mod frame;
mod shape;
mod value;

pub use error::{DecodeError, DecodeErrorKind};
pub use frame::{
    Envelope, FRAME_OVERHEAD_MAX, Kind, OpenError, Opened, SharedKey, WIRE_MAJOR, WIRE_MINOR,
};
pub(crate) use shape::PARTITIONS_MAX;
pub use shape::{Mode, Shape};
pub use value::{Reader, Writer};
