//! Frames in words, for readers of a schedule.

use bytes::Bytes;

use crate::codec::Envelope;
use crate::replica::message::{Message, Pull, decode, peek};
use crate::replica::row::{Row, Rows};
use crate::tracker::RepairHead;

/// Returns the content of a frame, on one line.
pub(super) fn describe(envelope: &Envelope, frame: &Bytes) -> String {
    match decode(envelope, frame.len(), frame) {
        Ok((sender, message)) => format!("{} of {sender}", message_text(&message)),
        Err(error) => format!("refused frame: {error}"),
    }
}

fn message_text(message: &Message) -> String {
    match message {
        Message::Hello { heartbeat, .. } => format!("Hello at {heartbeat}"),
        Message::Digest {
            seq, full, rows, ..
        } => {
            let rows: Vec<_> = Rows::new(rows)
                .flatten()
                .map(|row| row_text(&row))
                .collect();
            let full = if *full { "full " } else { "" };
            format!("{full}Digest {seq} [{}]", rows.join(", "))
        }
        Message::Delta { frame } => entries("Delta", frame, false),
        Message::Repair { frame } => {
            let head = RepairHead::decode(frame).ok();
            let what = head.map_or("Repair", |head| {
                if head.base == 0 {
                    "full Repair"
                } else {
                    "Repair"
                }
            });
            entries(what, frame, true)
        }
        Message::Pull(pull) => pull_text(pull),
        Message::Part(part) => format!(
            "Part {} of {} of {}/{} to {}",
            part.index, part.count, part.origin, part.slot, part.to
        ),
        Message::PullParts { missing, pull, .. } => {
            format!("PullParts {missing:?}, else {}", pull_text(pull))
        }
        Message::Goodbye { heartbeat, .. } => format!("Goodbye at {heartbeat}"),
        Message::Superseded { id, ago_ms } => format!("Superseded by {id}, {ago_ms} ms ago"),
        Message::Signal { seq, .. } => format!("Signal {seq}"),
        Message::Unsupported { min, max } => format!("WireRefused, {min} to {max} are spoken"),
        Message::Unknown => "unknown frame".to_owned(),
    }
}

fn row_text(row: &Row) -> String {
    let mut text = format!("{} at {} age {}", row.id, row.heartbeat, row.age_ms);
    let flags = [(row.down, " down"), (row.retired, " retired")];
    flags
        .iter()
        .filter(|flag| flag.0)
        .for_each(|flag| text += flag.1);
    for (slot, clock, hash) in row.listed() {
        let doubt = if row.doubt & (1 << slot) == 0 {
            ""
        } else {
            "?"
        };
        text += &format!(" {slot}:{clock}#{:04x}{doubt}", hash & 0xffff);
    }
    text
}

fn entries(what: &str, body: &Bytes, is_repair: bool) -> String {
    match peek(body, is_repair) {
        Ok(head) => format!(
            "{what} of {}/{} from {} to {}",
            head.origin, head.slot, head.from, head.to
        ),
        Err(error) => format!("{what} that cannot be read: {error}"),
    }
}

fn pull_text(pull: &Pull) -> String {
    let full = if pull.full { "full " } else { "" };
    let origin = &pull.origin;
    let slot = pull.slot;
    let clock = pull.clock;
    format!("{full}Pull of {origin}/{slot} since {clock}")
}
