//! Frames that no sound peer sends: altered entries, other versions, clusters and shapes, damage.

use bytes::Bytes;

use super::plan::{PARTITIONS, Plan};
use super::run::Run;
use super::sight;
use super::stats::Incident;
use crate::codec::Envelope;
use crate::codec::Kind;
use crate::id::ReplicaId;
use crate::replica::{Answer, Data, Handle, Message, Mode, Sender, Shape, decode, encode};

/// Offsets in a frame.
const MAJOR_AT: usize = 2;

/// Returns a frame of one partition with altered entries, and the partition; `None` if it has none.
pub(super) fn altered(
    run: &mut Run<'_, Plan>,
    id: &ReplicaId,
    frame: &Bytes,
) -> Option<(Bytes, u16)> {
    let seal = sight::seal(&run.plan.config());
    let decoded = decode(&seal, frame).ok()?;
    let Message::Data(Answer { partition, data }) = decoded.message else {
        return None;
    };
    let alter = |run: &mut Run<'_, Plan>, content: &Bytes| {
        let mut bytes = content.to_vec();
        if bytes.is_empty() || run.rng.below(2) == 0 {
            return None;
        }
        let offset = run.rng.below(bytes.len() as u64) as usize;
        match run.rng.below(8) {
            0 => bytes.truncate(offset),
            1 => bytes[offset] = run.rng.next_u64() as u8,
            _ => bytes[offset] ^= 1 << run.rng.below(8),
        }
        Some(Bytes::from(bytes))
    };
    let data = match data {
        Data::Delta(mut delta) => {
            delta.records = alter(run, &delta.records)?;
            Data::Delta(delta)
        }
        Data::Repair(mut repair) => {
            repair.content = alter(run, &repair.content)?;
            Data::Repair(repair)
        }
        Data::Part(mut part) => {
            part.content = alter(run, &part.content)?;
            Data::Part(part)
        }
        _ => return None,
    };
    let Sender::Handle(handle) = decoded.sender else {
        return None;
    };
    run.count(Incident::FrameAltered);
    let message = Message::Data(Answer { partition, data });
    Some((encode(&seal, id, handle, &message), partition))
}

/// A frame that changes nothing, and the words of its refusal; `None` if it is not refused.
pub(super) struct Strange {
    pub(super) frame: Bytes,
    pub(super) refusal: Option<&'static str>,
    pub(super) incident: Incident,
}

/// Makes a frame that must change nothing out of a sound one.
pub(super) fn strange(run: &mut Run<'_, Plan>, frame: &Bytes) -> Strange {
    let config = run.plan.config();
    let seal = sight::seal(&config);
    let mut bytes = frame.to_vec();
    let opened = seal.open(frame).ok();
    let (kind, partition, body) = opened.map_or((Kind::HELLO, None, Vec::new()), |opened| {
        (opened.kind, opened.partition, opened.body.to_vec())
    });
    match run.rng.below(5) {
        0 => {
            bytes[MAJOR_AT] = run.pick(&[0, 1, 3, 255]);
            Strange {
                frame: bytes.into(),
                refusal: Some("version"),
                incident: Incident::OtherMajor,
            }
        }
        1 => Strange {
            frame: Envelope::new("another", None, Plan::shape())
                .seal(kind, partition, &body)
                .into(),
            refusal: Some("cluster"),
            incident: Incident::OtherCluster,
        },
        2 => {
            let shape = Shape::new(2 * PARTITIONS, Mode::All).unwrap_or_default();
            Strange {
                frame: Envelope::new(&config.cluster, None, shape)
                    .seal(kind, partition, &body)
                    .into(),
                refusal: Some("the sender has"),
                incident: Incident::OtherShape,
            }
        }
        3 => {
            let mut body = Handle(run.rng.next_u64()).0.to_le_bytes().to_vec();
            body.extend(run.rng.next_u64().to_le_bytes());
            let kind = Kind(run.pick(&[31, 37, 128, 254]));
            Strange {
                frame: seal.seal(kind, None, &body).into(),
                refusal: None,
                incident: Incident::UnknownKind,
            }
        }
        _ => {
            let offset = run.rng.below(bytes.len() as u64) as usize;
            if run.rng.below(2) == 0 {
                bytes.truncate(offset);
            } else {
                bytes[offset] ^= 1 << run.rng.below(8);
            }
            Strange {
                frame: bytes.into(),
                refusal: Some(""),
                incident: Incident::Damaged,
            }
        }
    }
}
