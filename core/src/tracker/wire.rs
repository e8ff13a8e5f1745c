//! Bodies of `Delta` and `Repair` frames. See `docs/wire-format.md`.

use super::entry::Put;
use super::limits::Limits;
use super::origin::{Kill, OriginState};
use super::slab::NIL;
use super::store::Store;
use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::fault::{Fault, is_broken};
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

/// Reads records one by one. Ticks ascend strictly from `after` and stay at or below `to`.
#[derive(Debug)]
pub(super) struct Records<'a, 'l> {
    body: &'a [u8],
    limits: &'l Limits,
    slot: u8,
    place: Place,
}

/// How far the records of a body are read: enough to go on later.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) offset: usize,
    tick: u64,
    to: u64,
    /// Offsets of the topics introduced so far.
    topics: Vec<u32>,
}

impl Place {
    pub(super) fn start(offset: usize, (after, to): (u64, u64)) -> Self {
        Self {
            offset,
            tick: after,
            to,
            topics: Vec::new(),
        }
    }
}

impl<'a, 'l> Records<'a, 'l> {
    pub(super) fn new(body: &'a [u8], limits: &'l Limits, slot: u8, place: Place) -> Self {
        Self {
            body,
            limits,
            slot,
            place,
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn into_place(self) -> Place {
        self.place
    }

    /// The next record, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record<'a>>, DecodeError> {
        let mut reader = Reader::at(self.body, self.place.offset);
        if reader.remaining() == 0 {
            return Ok(None);
        }
        let at = reader.offset();
        let flags = reader.u8()?;
        let record = match flags & RECORD_MASK {
            RECORD_TOPIC if flags == RECORD_TOPIC => {
                self.read_topic(&mut reader)?;
                self.read_put_of_new_topic(&mut reader)?
            }
            RECORD_PUT if flags >> 6 == 0 => self.read_put(&mut reader, flags, false)?,
            RECORD_KILL => self.read_kill(&mut reader, flags >> 2)?,
            _ => return Err(DecodeError::invalid(at, "no such record")),
        };
        self.place.offset = reader.offset();
        Ok(Some(record))
    }

    /// The record after a new topic is a put of that topic: one body has one form, and topics
    /// without entries cannot pile up.
    fn read_put_of_new_topic(
        &mut self,
        reader: &mut Reader<'a>,
    ) -> Result<Record<'a>, DecodeError> {
        let at = reader.offset();
        let flags = reader.u8()?;
        if flags & RECORD_MASK != RECORD_PUT || flags >> 6 != 0 {
            return Err(DecodeError::invalid(
                at,
                "a new topic is not followed by a put",
            ));
        }
        self.read_put(reader, flags, true)
    }

    fn read_topic(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let at = reader.offset();
        let topic = reader.str(self.limits.topic_len_max)?;
        if self.slot != ALL_TOPICS && slot_of(topic) != self.slot {
            return Err(DecodeError::invalid(
                at,
                "topic does not belong to the slot",
            ));
        }
        let topics = &mut self.place.topics;
        if topics.len() == topics.capacity() {
            // At most a word per topic and its put, which take 8 bytes: within twice the frame.
            topics.reserve_exact(topics.len().clamp(8, 1 << 16));
        }
        topics.push(at as u32);
        Ok(())
    }

    fn read_tick(&mut self, reader: &mut Reader<'a>) -> Result<u64, DecodeError> {
        let at = reader.offset();
        let gap = reader.u64()?;
        match self.place.tick.checked_add(gap) {
            Some(tick) if gap > 0 && tick <= self.place.to => {
                self.place.tick = tick;
                Ok(tick)
            }
            _ => Err(DecodeError::invalid(
                at,
                "ticks do not ascend within the interval",
            )),
        }
    }

    fn read_put(
        &mut self,
        reader: &mut Reader<'a>,
        flags: u8,
        is_first: bool,
    ) -> Result<Record<'a>, DecodeError> {
        let at = reader.offset();
        let Some(encoding) = Encoding::from_u8(flags >> 2 & 3) else {
            return Err(DecodeError::invalid(at - 1, "no such encoding"));
        };
        let version = self.read_tick(reader)?;
        let birth = if flags & PUT_AGE == 0 {
            version
        } else {
            read_birth(reader, version)?
        };
        let topic_at = reader.offset();
        let number = usize::try_from(reader.u64()?).ok();
        let Some(&topic) = number.and_then(|number| self.place.topics.get(number)) else {
            return Err(DecodeError::invalid(
                topic_at,
                "topic number was not introduced",
            ));
        };
        if is_first && number != Some(self.place.topics.len() - 1) {
            return Err(DecodeError::invalid(
                topic_at,
                "a new topic is not followed by its put",
            ));
        }
        let topic = Reader::at(self.body, topic as usize).str(self.limits.topic_len_max)?;
        let status = if flags & PUT_STATUS == 0 {
            0
        } else {
            reader.u8()?
        };
        if status == 0 && flags & PUT_STATUS != 0 {
            return Err(DecodeError::invalid(
                at - 1,
                "status 0 is written without a byte",
            ));
        }
        let text_at = reader.offset();
        let key = reader.bytes(self.limits.key_len_max)?;
        let owner = reader.bytes(self.limits.owner_len_max)?;
        let text = |bytes| std::str::from_utf8(bytes).is_ok();
        if encoding == Encoding::Text && !(text(key) && text(owner)) {
            return Err(DecodeError::invalid(
                text_at,
                "text key or owner is not UTF-8",
            ));
        }
        let meta = reader.bytes(self.limits.meta_len_max)?;
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

    fn read_kill(
        &mut self,
        reader: &mut Reader<'a>,
        reason: u8,
    ) -> Result<Record<'a>, DecodeError> {
        let tick = self.read_tick(reader)?;
        let birth = read_birth(reader, tick)?;
        Ok(Record::Kill(Kill {
            tick,
            birth,
            reason,
        }))
    }
}

/// A birth is stored as its distance below `tick`.
fn read_birth(reader: &mut Reader<'_>, tick: u64) -> Result<u64, DecodeError> {
    let at = reader.offset();
    let age = reader.u64()?;
    if age == 0 || age >= tick {
        return Err(DecodeError::invalid(at, "birth is not before its tick"));
    }
    Ok(tick - age)
}

/// The list of versions in a `Repair` that stay: a count, then gaps.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) offset: usize,
    left: u64,
    version: u64,
    base: u64,
}

impl Kept {
    /// Starts at the count, which is at `offset`.
    pub(super) fn start(body: &[u8], offset: usize, base: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::at(body, offset);
        let left = reader.u64()?;
        Ok(Self {
            offset: reader.offset(),
            left,
            version: 0,
            base,
        })
    }

    /// The next version, `None` at the end.
    pub(super) fn next(&mut self, body: &[u8]) -> Result<Option<u64>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut reader = Reader::at(body, self.offset);
        let gap = reader.u64()?;
        match self.version.checked_add(gap) {
            Some(version) if gap > 0 && version <= self.base => {
                self.version = version;
                self.left -= 1;
                self.offset = reader.offset();
                Ok(Some(version))
            }
            _ => {
                let what = "kept versions do not ascend up to the base";
                Err(DecodeError::invalid(self.offset, what))
            }
        }
    }
}

/// An entry as it is written.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) birth: u64,
    pub(super) version: u64,
    /// Any number that names this topic within one body.
    pub(super) topic_number: u32,
    pub(super) topic: &'a str,
    pub(super) encoding: u8,
    pub(super) status: u8,
    pub(super) key: &'a [u8],
    pub(super) owner: &'a [u8],
    pub(super) meta: &'a [u8],
}

/// Writes a body: the counterpart of the heads, [`Kept`] and [`Records`].
pub(super) struct BodyWriter {
    writer: Writer,
    tick: u64,
    /// Number in this body of each topic number.
    topics: hashbrown::HashMap<u32, u64>,
}

impl BodyWriter {
    pub(super) fn new(
        replica: &ReplicaId,
        slot: u8,
        (from, to): (u64, u64),
        capacity: usize,
    ) -> Self {
        let mut writer = Writer::with_capacity(capacity + 112);
        writer.identity(replica.name(), replica.incarnation(), replica.salt());
        writer.u8(slot);
        writer.u64(from);
        writer.u64(to);
        Self {
            writer,
            tick: from,
            topics: hashbrown::HashMap::new(),
        }
    }

    /// The part of a `Repair` before its records.
    pub(super) fn kept(&mut self, nonce: u64, len: usize, versions: impl Iterator<Item = u64>) {
        self.writer.u64(nonce);
        self.writer.u64(len as u64);
        let mut last = 0;
        for version in versions {
            self.writer.u64(version - last);
            last = version;
        }
    }

    fn tick(&mut self, tick: u64) {
        self.writer.u64(tick - self.tick);
        self.tick = tick;
    }

    pub(super) fn put(&mut self, row: &Row<'_>) {
        let introduced = self.topics.len() as u64;
        let topic = *self.topics.entry(row.topic_number).or_insert(introduced);
        if topic == introduced {
            self.writer.u8(RECORD_TOPIC);
            self.writer.str(row.topic);
        }
        let updated = row.birth != row.version;
        let status_flag = if row.status == 0 { 0 } else { PUT_STATUS };
        let age_flag = if updated { PUT_AGE } else { 0 };
        self.writer
            .u8(RECORD_PUT | row.encoding << 2 | status_flag | age_flag);
        self.tick(row.version);
        if updated {
            self.writer.u64(row.version - row.birth);
        }
        self.writer.u64(topic);
        if row.status != 0 {
            self.writer.u8(row.status);
        }
        self.writer.bytes(row.key);
        self.writer.bytes(row.owner);
        self.writer.bytes(row.meta);
    }

    pub(super) fn kill(&mut self, kill: Kill) {
        self.writer
            .u8(RECORD_KILL | kill.reason.min(REASON_MAX) << 2);
        self.tick(kill.tick);
        self.writer.u64(kill.tick - kill.birth);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.writer.into_vec()
    }
}

fn row(store: &Store, index: u32) -> Row<'_> {
    let slot = &store.slab[index];
    let parts = store.parts(index);
    Row {
        birth: slot.birth,
        version: slot.version,
        topic_number: slot.topic,
        topic: &store.topic(slot.topic).name,
        encoding: slot.encoding,
        status: slot.status,
        key: parts.key,
        owner: parts.owner,
        meta: parts.meta,
    }
}

/// A `Delta` body from clock `from` (at or above the horizon) to the origin's clock.
pub(super) fn delta_body(store: &Store, origin: &OriginState, slot: u8, from: u64) -> Vec<u8> {
    let puts = origin.newer_than(&store.slab, from);
    let interval = (from, origin.clock);
    let mut writer = BodyWriter::new(&origin.id, slot, interval, puts.len() * 80);
    let last_kill = origin.kills.back().map_or(0, |kill| kill.tick);
    let mut kills = origin
        .kills
        .range(origin.kills_after(from)..)
        .copied()
        .filter(|kill| kill.birth <= from || !is_broken(Fault::CancelKills))
        .filter(|kill| kill.tick != last_kill || !is_broken(Fault::DropKill))
        .peekable();
    for index in puts {
        let version = store.slab[index].version;
        while let Some(kill) = kills.next_if(|kill| kill.tick < version) {
            writer.kill(kill);
        }
        writer.put(&row(store, index));
    }
    kills.for_each(|kill| writer.kill(kill));
    writer.finish()
}

/// A `Repair` body relative to `base`; the full state when `base` is 0.
pub(super) fn repair_body(
    store: &Store,
    origin: &OriginState,
    slot: u8,
    (base, nonce): (u64, u64),
) -> Vec<u8> {
    let puts = origin.newer_than(&store.slab, base);
    let kept = origin.len as usize - puts.len();
    let capacity = puts.len() * 80 + kept;
    let mut writer = BodyWriter::new(&origin.id, slot, (base, origin.clock), capacity);
    let at = |index: u32| (index != NIL).then_some(index);
    let oldest_first = std::iter::successors(at(origin.oldest), |&i| at(store.slab[i].newer));
    let versions = oldest_first
        .map(|i| store.slab[i].version)
        .take_while(|v| *v <= base);
    writer.kept(nonce, kept, versions);
    puts.into_iter()
        .for_each(|index| writer.put(&row(store, index)));
    writer.finish()
}
