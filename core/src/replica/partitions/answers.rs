//! Answers to questions, and outcomes of frames, of what trackers return.

use bytes::Bytes;

use crate::error::ApplyError;
use crate::replica::message::{Data, Delta, Repair};
use crate::replica::output::{Answered, CapturedParts, Found, Long, Outcome, Parts, Serve, Served};
use crate::tracker::{Captured, ContentKind, Contents};

pub(super) fn outcome(error: ApplyError) -> Outcome {
    match error {
        ApplyError::Gap { .. } => Outcome::Gap,
        ApplyError::Diverged { .. } => Outcome::Contradicts,
        error => Outcome::Refused(error),
    }
}

pub(super) fn served(serve: &Serve, found: Found) -> Answered {
    Answered::Pull(Served {
        reply: serve.reply,
        partition: serve.partition,
        found,
    })
}

/// Makes the answer to a question of a content.
pub(super) fn found(serve: &Serve, contents: Contents) -> Found {
    let Contents { from, to, content } = contents;
    let life = serve.life;
    let nonce = serve.nonce;
    let long = |parts: Vec<Bytes>| {
        Found::Long(Long {
            life,
            base: from,
            to,
            nonce,
            parts: Parts::Encoded(parts),
        })
    };
    let pieces = |kind: u8, content: Vec<u8>| {
        let mut bytes = vec![kind];
        bytes.extend(content);
        let bytes = Bytes::from(bytes);
        let starts = (0..bytes.len()).step_by(serve.bytes_max.max(1));
        let piece = |start: usize| bytes.slice(start..bytes.len().min(start + serve.bytes_max));
        starts.map(piece).collect()
    };
    let repair = |content: Vec<u8>| {
        Found::Data(Data::Repair(Repair {
            life,
            base: from,
            to,
            nonce,
            content: content.into(),
        }))
    };
    match content {
        ContentKind::Records(records) if records.len() > serve.bytes_max => {
            long(pieces(0, records))
        }
        ContentKind::Records(records) => Found::Data(Data::Delta(Delta {
            life,
            from,
            to,
            records: records.into(),
        })),
        // A whole state is captured, unless one frame takes it, or none takes its only entry.
        ContentKind::Repair(content) if from > 0 && content.len() > serve.bytes_max => {
            long(pieces(1, content))
        }
        ContentKind::Repair(content) => repair(content),
    }
}

/// Makes the answer to a question of a captured state.
pub(super) fn found_captured(serve: &Serve, capture: u64, captured: Captured) -> Found {
    let Captured {
        to,
        parts,
        longest,
        bytes,
    } = captured;
    Found::Long(Long {
        life: serve.life,
        base: 0,
        to,
        nonce: serve.nonce,
        parts: Parts::Captured(CapturedParts {
            capture,
            count: parts,
            longest,
            bytes,
        }),
    })
}
