//! Reading the records of a body one by one.

use std::ops::RangeInclusive;

use super::{
    PUT_AGE, PUT_PREVIOUS, PUT_STATUS, PUT_UNUSED, RECORD_LEAVE, RECORD_MASK, RECORD_PUT,
    RECORD_TOPIC, Record,
};
use crate::codec::{DecodeError, Reader};
use crate::tracker::Encoding;
use crate::tracker::entry::{EntryVersions, NewEntry};
use crate::tracker::leave_log::LoggedLeave;
use crate::tracker::limits::Limits;
use crate::tracker::topic_share::TopicShare;

/// Reads records one by one. Their ops ascend strictly within the interval of the body.
#[derive(Debug)]
pub(in crate::tracker) struct Records<'a, 'l> {
    body: &'a [u8],
    limits: &'l Limits,
    share: TopicShare,
    place: Place,
}

/// The place up to which the records of a body are read: enough to continue later.
#[derive(Debug, Clone)]
pub(in crate::tracker) struct Place {
    offset: usize,
    op: u64,
    to: u64,
    /// Offsets of the topics introduced so far.
    topics: Vec<u32>,
}

impl Place {
    /// Starts at the first record, which is at `offset`, of a body from one clock to another.
    pub(in crate::tracker) fn start(offset: usize, interval: RangeInclusive<u64>) -> Self {
        Self {
            offset,
            op: *interval.start(),
            to: *interval.end(),
            topics: Vec::new(),
        }
    }
}

impl<'a, 'l> Records<'a, 'l> {
    pub(in crate::tracker) fn new(
        body: &'a [u8],
        limits: &'l Limits,
        share: TopicShare,
        place: Place,
    ) -> Self {
        Self {
            body,
            limits,
            share,
            place,
        }
    }

    /// Returns the offset of the next record.
    pub(in crate::tracker) fn offset(&self) -> usize {
        self.place.offset
    }

    pub(in crate::tracker) fn into_place(self) -> Place {
        self.place
    }

    /// Reads the next record; `None` at the end.
    pub(in crate::tracker) fn next(&mut self) -> Result<Option<Record<'a>>, DecodeError> {
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
            RECORD_PUT if flags & PUT_UNUSED == 0 => self.read_put(&mut reader, flags, false)?,
            RECORD_LEAVE => self.read_leave(&mut reader, flags >> 2)?,
            _ => return Err(DecodeError::invalid(at, "no such record")),
        };
        self.place.offset = reader.offset();
        Ok(Some(record))
    }

    /// Reads the record after a new topic, which must be a put of that topic: so a state has one
    /// form, and topics without entries cannot pile up.
    fn read_put_of_new_topic(
        &mut self,
        reader: &mut Reader<'a>,
    ) -> Result<Record<'a>, DecodeError> {
        let at = reader.offset();
        let flags = reader.u8()?;
        if flags & RECORD_MASK != RECORD_PUT || flags & PUT_UNUSED != 0 {
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
        if !self.share.holds(topic) {
            return Err(DecodeError::invalid(
                at,
                "topic does not belong to the partition",
            ));
        }
        let topics = &mut self.place.topics;
        if topics.len() == topics.capacity() {
            // At most 4 bytes for a topic and its put, which take 8 bytes: within twice the frame.
            topics.reserve_exact(topics.len().clamp(8, 1 << 16));
        }
        topics.push(at as u32);
        Ok(())
    }

    fn read_op(&mut self, reader: &mut Reader<'a>) -> Result<u64, DecodeError> {
        let at = reader.offset();
        let gap = reader.u64()?;
        match self.place.op.checked_add(gap) {
            Some(op) if gap > 0 && op <= self.place.to => {
                self.place.op = op;
                Ok(op)
            }
            _ => Err(DecodeError::invalid(
                at,
                "ops do not ascend within the interval",
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
        let version = self.read_op(reader)?;
        let versions = read_versions(reader, flags, version)?;
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
        let put = NewEntry {
            topic,
            key,
            owner,
            meta,
            encoding,
            status,
        };
        Ok(Record::NewEntry { put, versions })
    }

    fn read_leave(
        &mut self,
        reader: &mut Reader<'a>,
        reason: u8,
    ) -> Result<Record<'a>, DecodeError> {
        let op = self.read_op(reader)?;
        let birth = read_birth(reader, op)?;
        Ok(Record::Leave(LoggedLeave { op, birth, reason }))
    }
}

/// Reads the writes before `version`, as far as the flags of a put announce them.
fn read_versions(
    reader: &mut Reader<'_>,
    flags: u8,
    version: u64,
) -> Result<EntryVersions, DecodeError> {
    if flags & PUT_AGE == 0 {
        if flags & PUT_PREVIOUS != 0 {
            let what = "a previous version without an age";
            return Err(DecodeError::invalid(reader.offset(), what));
        }
        return Ok(EntryVersions::new(version));
    }
    let birth = read_birth(reader, version)?;
    let mut versions = EntryVersions::new(birth).written(version);
    if flags & PUT_PREVIOUS != 0 {
        let at = reader.offset();
        let back = reader.u64()?;
        if back == 0 || back >= version - birth {
            let what = "the previous version is not between birth and version";
            return Err(DecodeError::invalid(at, what));
        }
        versions.previous = version - back;
    }
    Ok(versions)
}

/// Reads a birth, which is stored as its distance below `op`.
fn read_birth(reader: &mut Reader<'_>, op: u64) -> Result<u64, DecodeError> {
    let at = reader.offset();
    let age = reader.u64()?;
    if age == 0 || age >= op {
        return Err(DecodeError::invalid(at, "birth is not before its op"));
    }
    Ok(op - age)
}

/// The versions in a `Repair` that stay, as the body lists them: a count, then gaps.
#[derive(Debug, Clone)]
pub(in crate::tracker) struct Kept {
    offset: usize,
    left: u64,
    version: u64,
    base: u64,
}

impl Kept {
    /// Starts at the count, which is at `offset`.
    pub(in crate::tracker) fn start(
        body: &[u8],
        offset: usize,
        base: u64,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::at(body, offset);
        let left = reader.u64()?;
        Ok(Self {
            offset: reader.offset(),
            left,
            version: 0,
            base,
        })
    }

    /// Returns the offset of the next version, or of what follows the last one.
    pub(in crate::tracker) fn offset(&self) -> usize {
        self.offset
    }

    /// Reads the next version; `None` at the end.
    pub(in crate::tracker) fn next(&mut self, body: &[u8]) -> Result<Option<u64>, DecodeError> {
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
