//! Bodies of `Delta` and `Repair` frames. See `docs/wire-format.md`.

use super::entry::Put;
use super::limits::Limits;
use super::origin::{Kill, OriginState};
use super::slab::NIL;
use super::store::Store;
use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::id::{ALL_TOPICS, Encoding, Origin, ReplicaId, SLOTS, TICK_MAX, slot_of};

const RECORD_TOPIC: u8 = 0;
const RECORD_PUT: u8 = 1;
const RECORD_KILL: u8 = 2;
const RECORD_MASK: u8 = 3;
const PUT_STATUS: u8 = 1 << 4;
const PUT_AGE: u8 = 1 << 5;
/// Largest number of a leave reason: it shares a byte with the record kind.
pub(super) const REASON_MAX: u8 = 63;

/// The first fields of a `Delta`: what it is about, without its records.
///
/// A `Delta` takes a holder of `origin` from any clock in `from..=to` to exactly `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaHead {
    /// Whose operations these are.
    pub origin: Origin,
    /// The clock it starts after.
    pub from: u64,
    /// The clock it leads to.
    pub to: u64,
}

/// The first fields of a `Repair`.
///
/// A `Repair` takes a holder of `origin` at `base` or later to exactly `to`. With base 0 it is the
/// full state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairHead {
    /// Whose state this is.
    pub origin: Origin,
    /// The clock up to which versions are only listed.
    pub base: u64,
    /// The clock it leads to.
    pub to: u64,
    /// The nonce of the `Pull` it answers.
    pub nonce: u64,
}

/// One operation in a frame.
#[derive(Debug, Clone, Copy)]
pub(super) enum Record<'a> {
    Put {
        put: Put<'a>,
        birth: u64,
        version: u64,
    },
    Kill(Kill),
}

impl DeltaHead {
    /// Reads the head of a `Delta` body.
    ///
    /// # Errors
    /// When the bytes are not one. Offsets are those in the body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(body))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let origin = read_origin(reader)?;
        let (from, to) = read_interval(reader)?;
        Ok(Self { origin, from, to })
    }
}

impl RepairHead {
    /// Reads the head of a `Repair` body.
    ///
    /// # Errors
    /// When the bytes are not one. Offsets are those in the body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(body))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let origin = read_origin(reader)?;
        let (base, to) = read_interval(reader)?;
        let nonce = reader.u64()?;
        Ok(Self {
            origin,
            base,
            to,
            nonce,
        })
    }
}

fn read_origin(reader: &mut Reader<'_>) -> Result<Origin, DecodeError> {
    let at = reader.offset();
    let (name, incarnation, salt) = reader.identity()?;
    let replica = ReplicaId::new(name, incarnation, salt)
        .map_err(|_| DecodeError::invalid(at, "not a replica id"))?;
    let at = reader.offset();
    let slot = reader.u8()?;
    if slot >= SLOTS && slot != ALL_TOPICS {
        return Err(DecodeError::invalid(at, "no such slot"));
    }
    Ok(Origin { replica, slot })
}

fn read_interval(reader: &mut Reader<'_>) -> Result<(u64, u64), DecodeError> {
    let at = reader.offset();
    let (from, to) = (reader.u64()?, reader.u64()?);
    if from > to || to >= TICK_MAX {
        return Err(DecodeError::invalid(
            at,
            "clocks are not in order below 2^62",
        ));
    }
    Ok((from, to))
}

fn write_origin(writer: &mut Writer, replica: &ReplicaId, slot: u8) {
    writer.identity(replica.name(), replica.incarnation(), replica.salt());
    writer.u8(slot);
}

/// Reads records one by one. Ticks ascend strictly from `after` and stay at or below `to`.
#[derive(Debug)]
pub(super) struct Records<'a, 'l> {
    pub(super) reader: Reader<'a>,
    limits: &'l Limits,
    slot: u8,
    tick: u64,
    to: u64,
    topics: Vec<&'a str>,
}

impl<'a, 'l> Records<'a, 'l> {
    pub(super) fn new(
        reader: Reader<'a>,
        limits: &'l Limits,
        slot: u8,
        (after, to): (u64, u64),
    ) -> Self {
        Self {
            reader,
            limits,
            slot,
            tick: after,
            to,
            topics: Vec::new(),
        }
    }

    /// The next record, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record<'a>>, DecodeError> {
        loop {
            if self.reader.remaining() == 0 {
                return Ok(None);
            }
            let at = self.reader.offset();
            let flags = self.reader.u8()?;
            match flags & RECORD_MASK {
                RECORD_TOPIC if flags == RECORD_TOPIC => self.read_topic()?,
                RECORD_PUT if flags >> 6 == 0 => return self.read_put(at, flags).map(Some),
                RECORD_KILL => return self.read_kill(flags >> 2).map(Some),
                _ => return Err(DecodeError::invalid(at, "no such record")),
            }
        }
    }

    fn read_topic(&mut self) -> Result<(), DecodeError> {
        let at = self.reader.offset();
        let topic = self.reader.str(self.limits.topic_len_max)?;
        if self.slot != ALL_TOPICS && slot_of(topic) != self.slot {
            return Err(DecodeError::invalid(
                at,
                "topic does not belong to the slot",
            ));
        }
        if self.topics.len() == self.topics.capacity() {
            // A topic and its first record take at least 8 bytes: half of the frame at most.
            self.topics
                .reserve_exact(self.topics.len().clamp(8, 1 << 20));
        }
        self.topics.push(topic);
        Ok(())
    }

    fn read_tick(&mut self) -> Result<u64, DecodeError> {
        let at = self.reader.offset();
        let gap = self.reader.u64()?;
        match self.tick.checked_add(gap) {
            Some(tick) if gap > 0 && tick <= self.to => {
                self.tick = tick;
                Ok(tick)
            }
            _ => Err(DecodeError::invalid(
                at,
                "ticks do not ascend within the interval",
            )),
        }
    }

    /// A birth is stored as its distance below `tick`.
    fn read_birth(&mut self, tick: u64) -> Result<u64, DecodeError> {
        let at = self.reader.offset();
        let age = self.reader.u64()?;
        if age == 0 || age >= tick {
            return Err(DecodeError::invalid(at, "birth is not before its tick"));
        }
        Ok(tick - age)
    }

    fn read_put(&mut self, at: usize, flags: u8) -> Result<Record<'a>, DecodeError> {
        let Some(encoding) = Encoding::from_u8(flags >> 2 & 3) else {
            return Err(DecodeError::invalid(at, "no such encoding"));
        };
        let version = self.read_tick()?;
        let birth = if flags & PUT_AGE == 0 {
            version
        } else {
            self.read_birth(version)?
        };
        let topic_at = self.reader.offset();
        let topic = usize::try_from(self.reader.u64()?)
            .ok()
            .and_then(|t| self.topics.get(t));
        let Some(&topic) = topic else {
            return Err(DecodeError::invalid(
                topic_at,
                "topic number was not introduced",
            ));
        };
        let status = if flags & PUT_STATUS == 0 {
            0
        } else {
            self.reader.u8()?
        };
        if status == 0 && flags & PUT_STATUS != 0 {
            return Err(DecodeError::invalid(
                at,
                "status 0 is written without a byte",
            ));
        }
        let text_at = self.reader.offset();
        let key = self.reader.bytes(self.limits.key_len_max)?;
        let owner = self.reader.bytes(self.limits.owner_len_max)?;
        let text = |bytes| std::str::from_utf8(bytes).is_ok();
        if encoding == Encoding::Text && !(text(key) && text(owner)) {
            return Err(DecodeError::invalid(
                text_at,
                "text key or owner is not UTF-8",
            ));
        }
        let meta = self.reader.bytes(self.limits.meta_len_max)?;
        let put = Put {
            topic,
            key,
            owner,
            meta,
            encoding,
            status,
        };
        Ok(Record::Put {
            put,
            birth,
            version,
        })
    }

    fn read_kill(&mut self, reason: u8) -> Result<Record<'a>, DecodeError> {
        let tick = self.read_tick()?;
        let birth = self.read_birth(tick)?;
        Ok(Record::Kill(Kill {
            tick,
            birth,
            reason,
        }))
    }
}

/// Writes records; the counterpart of [`Records`].
struct RecordWriter<'s> {
    writer: Writer,
    store: &'s Store,
    tick: u64,
    /// Number of each topic in this frame.
    topics: hashbrown::HashMap<u32, u64>,
}

impl RecordWriter<'_> {
    fn tick(&mut self, tick: u64) {
        self.writer.u64(tick - self.tick);
        self.tick = tick;
    }

    fn put(&mut self, index: u32) {
        let slot = &self.store.slab[index];
        let introduced = self.topics.len() as u64;
        let topic = *self.topics.entry(slot.topic).or_insert(introduced);
        if topic == introduced {
            self.writer.u8(RECORD_TOPIC);
            self.writer.str(&self.store.topic(slot.topic).name);
        }
        let mut flags = RECORD_PUT | slot.encoding << 2;
        if slot.status != 0 {
            flags |= PUT_STATUS;
        }
        if slot.birth != slot.version {
            flags |= PUT_AGE;
        }
        self.writer.u8(flags);
        self.tick(slot.version);
        if slot.birth != slot.version {
            self.writer.u64(slot.version - slot.birth);
        }
        self.writer.u64(topic);
        if slot.status != 0 {
            self.writer.u8(slot.status);
        }
        let parts = self.store.parts(index);
        self.writer.bytes(parts.key);
        self.writer.bytes(parts.owner);
        self.writer.bytes(parts.meta);
    }

    fn kill(&mut self, kill: Kill) {
        self.writer
            .u8(RECORD_KILL | kill.reason.min(REASON_MAX) << 2);
        self.tick(kill.tick);
        self.writer.u64(kill.tick - kill.birth);
    }
}

/// A `Delta` body from clock `from` (at or above the horizon) to the origin's clock.
pub(super) fn delta_body(store: &Store, origin: &OriginState, slot: u8, from: u64) -> Vec<u8> {
    let puts = origin.newer_than(&store.slab, from);
    let mut writer = Writer::with_capacity(64 + puts.len() * 80);
    write_origin(&mut writer, &origin.id, slot);
    writer.u64(from);
    writer.u64(origin.clock);
    let mut records = RecordWriter {
        writer,
        store,
        tick: from,
        topics: hashbrown::HashMap::new(),
    };
    let mut kills = origin
        .kills
        .range(origin.kills_after(from)..)
        .copied()
        .peekable();
    for index in puts {
        let version = store.slab[index].version;
        while let Some(kill) = kills.next_if(|k| k.tick < version) {
            records.kill(kill);
        }
        records.put(index);
    }
    kills.for_each(|kill| records.kill(kill));
    records.writer.into_vec()
}

/// A `Repair` body relative to `base`; the full state when `base` is 0.
pub(super) fn repair_body(
    store: &Store,
    origin: &OriginState,
    slot: u8,
    (base, nonce): (u64, u64),
) -> Vec<u8> {
    let puts = origin.newer_than(&store.slab, base);
    let kept = origin.len - puts.len() as u32;
    let mut writer = Writer::with_capacity(64 + puts.len() * 80 + kept as usize);
    write_origin(&mut writer, &origin.id, slot);
    writer.u64(base);
    writer.u64(origin.clock);
    writer.u64(nonce);
    writer.u64(u64::from(kept));
    let (mut at, mut last) = (origin.oldest, 0);
    while at != NIL && store.slab[at].version <= base {
        writer.u64(store.slab[at].version - last);
        last = store.slab[at].version;
        at = store.slab[at].newer;
    }
    let mut records = RecordWriter {
        writer,
        store,
        tick: base,
        topics: hashbrown::HashMap::new(),
    };
    puts.into_iter().for_each(|index| records.put(index));
    records.writer.into_vec()
}
