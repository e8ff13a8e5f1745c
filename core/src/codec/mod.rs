//! The byte format of frames: a sealed envelope around values in bincode's standard encoding.
//!
//! The only module that names `bincode`. Values are written one by one and read one by one by
//! borrowing from the input, so decoding allocates nothing by itself and every length is checked
//! against the bytes that are there. Integers must be in their shortest form: the bytes of a value
//! are canonical. `docs/wire-format.md` is the normative description.

mod error;
mod frame;
mod value;

pub use error::{DecodeError, DecodeErrorKind};
pub use frame::{
    CLUSTER_LEN_MAX, Envelope, FRAME_OVERHEAD_MAX, Kind, SharedKey, WIRE_MAJOR, WIRE_MINOR,
};
pub use value::{Reader, Writer};
