//! The members of a saved table, by slot.
//!
//! A slot is one byte if it is free; else its keys, each after its length in one byte, the number of
//! its class (a class that is new is followed by its attributes) or, in lists, its attribute bits,
//! then id, revision and payload.

use std::io::Read;

use arrayvec::ArrayVec;
use bytes::Bytes;

use crate::member_list::attrs::{Attrs, WORDS};
use crate::member_list::limits::{ATTR_SETS_MAX, KEY_COLUMNS_MAX, KEY_MAX, PAYLOAD_MAX};
use crate::member_list::load_error::LoadError;
use crate::member_list::saves::blocks::BlockReader;
use crate::member_list::saves::head::Head;
use crate::member_list::store::classes::Classes;
use crate::member_list::store::cow_vec::CowVec;
use crate::member_list::store::kept_pages::{FREE_SLOT, KEPT_PAGE};
use crate::member_list::store::table::{Cell, Table};
use crate::member_list::{Id, SortKey};

/// Slots of an order that are read at once.
const SLOTS_AT_ONCE: usize = 1 << 12;

/// Slots after which the memory of those before is let go.
const FORGOTTEN_AT_ONCE: usize = 1 << 15;

/// Writes the members that a table had at the beginning of a save.
#[derive(Debug)]
pub(crate) struct MemberWriter<I> {
    cells: CowVec<Cell<I>>,
    payloads: Option<CowVec<Bytes>>,
    columns: usize,
    /// Each id has its sign after it.
    signed: bool,
    /// The next slot.
    slot: usize,
    /// Keys and classes of the page of that slot, and how many bytes of them are written.
    page: Box<[u8]>,
    read: usize,
    /// One more than the number of each class in the file; 0 for those that are not in it yet.
    numbers: Vec<u32>,
    classes: u32,
}

impl<I: Id> MemberWriter<I> {
    pub(crate) fn new(table: &Table<I>, signed: bool) -> Self {
        Self {
            cells: table.cells.clone(),
            payloads: table.payloads.clone(),
            columns: table.columns(),
            signed,
            slot: 0,
            page: Box::default(),
            read: 0,
            numbers: Vec::new(),
            classes: 0,
        }
    }

    /// Writes members until the page or the room is full; returns whether there are more.
    pub(crate) fn write_page(
        &mut self,
        table: &mut Table<I>,
        classes: Option<&Classes>,
        room: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        if self.slot == self.cells.len() {
            return false;
        }
        if self.slot.is_multiple_of(KEPT_PAGE as usize) {
            self.page = table.next_saved_page().unwrap_or_default();
            self.read = 0;
        }
        if self.slot.is_multiple_of(FORGOTTEN_AT_ONCE) {
            self.cells.forget_before(self.slot);
            self.payloads
                .iter_mut()
                .for_each(|payloads| payloads.forget_before(self.slot));
        }
        loop {
            self.write_slot(classes, out);
            self.slot += 1;
            let is_page_over = self.slot.is_multiple_of(KEPT_PAGE as usize);
            if is_page_over || self.slot == self.cells.len() || out.len() >= room {
                return true;
            }
        }
    }

    fn write_slot(&mut self, classes: Option<&Classes>, out: &mut Vec<u8>) {
        let start = self.read;
        if self.page[start] == FREE_SLOT {
            self.read += 1;
            return out.push(FREE_SLOT);
        }
        for _ in 0..self.columns {
            self.read += 1 + usize::from(self.page[self.read]);
        }
        out.extend_from_slice(&self.page[start..self.read]);
        let cell = &self.cells[self.slot];
        match classes {
            Some(classes) => {
                let mut class = [0; 4];
                class.copy_from_slice(&self.page[self.read..self.read + 4]);
                self.read += 4;
                self.write_class(classes, u32::from_le_bytes(class), out);
            }
            None => out.extend_from_slice(&cell.attrs.to_le_bytes()),
        }
        let cell = &self.cells[self.slot];
        write_id(&cell.id, self.signed, out);
        out.extend_from_slice(&cell.revision.to_le_bytes());
        if let Some(payloads) = &self.payloads {
            let payload = &payloads[self.slot];
            out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            out.extend_from_slice(payload);
        }
    }

    fn write_class(&mut self, classes: &Classes, class: u32, out: &mut Vec<u8>) {
        let at = class as usize;
        if self.numbers.len() <= at {
            self.numbers.resize(at + 1, 0);
        }
        if self.numbers[at] > 0 {
            return out.extend_from_slice(&(self.numbers[at] - 1).to_le_bytes());
        }
        out.extend_from_slice(&self.classes.to_le_bytes());
        classes.attrs(class).save(out);
        self.classes += 1;
        self.numbers[at] = self.classes;
    }
}

/// Reads the members of a file into a table that is empty.
pub(crate) fn read_members<I: Id>(
    reader: &mut BlockReader<impl Read>,
    head: &Head,
    table: &mut Table<I>,
    mut classes: Option<&mut Classes>,
) -> Result<(), LoadError> {
    let mut members = 0;
    let mut numbers = Vec::new();
    for _ in 0..head.slots {
        let len = reader.u8()?;
        if len == FREE_SLOT {
            table.push_saved(None, &[]);
            continue;
        }
        let key = read_key(reader, len)?;
        let mut more = ArrayVec::<SortKey, KEY_COLUMNS_MAX>::new();
        for _ in 1..head.columns {
            let len = reader.u8()?;
            more.push(read_key(reader, len)?);
        }
        let (class, attrs) = match &mut classes {
            Some(classes) => {
                let class = read_class(reader, classes, &mut numbers)?;
                classes.hold(class);
                (class, classes.attrs(class).low() & head.shown)
            }
            None => (0, reader.u32()?),
        };
        let cell = Cell {
            id: read_id(reader, head.signed)?,
            revision: reader.u32()?,
            attrs,
        };
        let slot = table.push_saved(Some(cell), key.as_bytes());
        for (column, key) in (1..).zip(more) {
            table.set_key_in(column, slot, key.as_bytes());
        }
        table.set_class(slot, class);
        if let Some(payloads) = &mut table.payloads {
            *payloads.at_mut(slot as usize) = read_payload(reader)?;
        }
        members += 1;
    }
    if members != head.members {
        return Err(reader.invalid("the number of members is wrong"));
    }
    match table.index_saved() {
        true => Ok(()),
        false => Err(reader.invalid("two members have one id")),
    }
}

fn read_key(reader: &mut BlockReader<impl Read>, len: u8) -> Result<SortKey, LoadError> {
    if usize::from(len) > KEY_MAX {
        return Err(LoadError::OverLimit {
            what: "bytes of a key",
            got: len.into(),
            max: KEY_MAX as u64,
            offset: reader.offset(),
        });
    }
    Ok(SortKey::cut(reader.take(len.into())?))
}

fn read_class(
    reader: &mut BlockReader<impl Read>,
    classes: &mut Classes,
    numbers: &mut Vec<u32>,
) -> Result<u32, LoadError> {
    let number = reader.u32()? as usize;
    if number < numbers.len() {
        return Ok(numbers[number]);
    }
    if number > numbers.len() {
        return Err(reader.invalid("a class of attributes is missing"));
    }
    let attrs = read_attrs(reader)?;
    // There are no lists yet, so there are no rules.
    let class = classes.intern(&attrs, std::iter::empty());
    let class = class.map_err(|_| LoadError::OverLimit {
        what: "sets of attributes",
        got: ATTR_SETS_MAX as u64 + 1,
        max: ATTR_SETS_MAX as u64,
        offset: reader.offset(),
    })?;
    numbers.push(class);
    Ok(class)
}

/// Reads whether another list follows.
pub(crate) fn read_more(reader: &mut BlockReader<impl Read>) -> Result<bool, LoadError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(reader.invalid("there is neither a list nor the end")),
    }
}

/// Reads the slots of the members of a group.
pub(crate) fn read_slots(
    reader: &mut BlockReader<impl Read>,
    slots: usize,
) -> Result<Vec<u32>, LoadError> {
    let members = reader.u32()? as usize;
    if members > slots {
        return Err(LoadError::OverLimit {
            what: "members of a group",
            got: members as u64,
            max: slots as u64,
            offset: reader.offset(),
        });
    }
    let mut order = Vec::with_capacity(members);
    while order.len() < members {
        let some = SLOTS_AT_ONCE.min(members - order.len());
        let bytes = reader.take(4 * some)?.chunks_exact(4);
        order.extend(bytes.map(|bytes| {
            let mut slot = [0; 4];
            slot.copy_from_slice(bytes);
            u32::from_le_bytes(slot)
        }));
    }
    Ok(order)
}

/// Reads a set of attributes.
pub(crate) fn read_attrs(reader: &mut BlockReader<impl Read>) -> Result<Attrs, LoadError> {
    let mask = reader.u8()?;
    let mut words = [0; WORDS];
    for (at, word) in words.iter_mut().enumerate() {
        if mask >> at & 1 == 1 {
            *word = reader.u64()?;
        }
    }
    Ok(Attrs::from_words(words))
}

/// Appends an id, and its sign if ids have one.
pub(crate) fn write_id<I: Id>(id: &I, signed: bool, out: &mut Vec<u8>) {
    id.save(out);
    if signed {
        out.push(id.is_negative().into());
    }
}

/// Reads an id, and its sign if ids have one.
pub(crate) fn read_id<I: Id>(
    reader: &mut BlockReader<impl Read>,
    signed: bool,
) -> Result<I, LoadError> {
    let len = match I::SAVED_LEN {
        Some(len) => len,
        None => reader.u8()?.into(),
    };
    let mut id = I::from_saved(reader.take(len)?);
    if signed {
        id = match reader.u8()? {
            0 => id,
            1 => id.and_then(I::negative),
            _ => None,
        };
    }
    id.ok_or_else(|| reader.invalid("an id is none"))
}

fn read_payload(reader: &mut BlockReader<impl Read>) -> Result<Bytes, LoadError> {
    let len = reader.u32()?;
    if len as usize > PAYLOAD_MAX {
        return Err(LoadError::OverLimit {
            what: "bytes of a payload",
            got: len.into(),
            max: PAYLOAD_MAX as u64,
            offset: reader.offset(),
        });
    }
    Ok(Bytes::copy_from_slice(reader.take(len as usize)?))
}
