//! Saving lists and tables in steps, loading them, and their pickles, which are files too.

use std::io::{BufReader, Cursor, Read};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use headcount::MemberList;
use headcount::member_list::{
    BodyFormat, Epoch, LoadError, MemberTable, SaveError, SaveJob, SavedIds,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bounds::bytes;
use crate::detached_drop::Content;
use crate::error::{ListError, raise};
use crate::files::{Sink, Source, failed};
use crate::id::{OfKind, PyId};
use crate::list_or_roster::{ListOrRoster, TableOrRoster};
use crate::sync::Locked;

/// Bytes of a file after which other threads may work on what is saved.
const SAVE_STEP: usize = 256 << 10;

/// A list or table that can be saved and loaded.
pub(crate) trait Saved: Content + Sync {
    type Id: PyId;

    fn begin_save(&mut self) -> Result<SaveJob<Self::Id>, SaveError>;

    /// Appends the next bytes of the file; returns whether it is whole.
    fn step(&mut self, job: &mut SaveJob<Self::Id>, out: &mut Vec<u8>) -> Result<bool, SaveError>;

    fn load(reader: impl Read, epoch: Epoch) -> Result<Self, LoadError>;

    fn has_payloads(&self) -> bool;
}

impl<I: PyId> Saved for ListOrRoster<I> {
    type Id = I;

    fn begin_save(&mut self) -> Result<SaveJob<I>, SaveError> {
        MemberList::begin_save(self)
    }

    fn step(&mut self, job: &mut SaveJob<I>, out: &mut Vec<u8>) -> Result<bool, SaveError> {
        let list: &mut MemberList<I> = self;
        job.step(list, SAVE_STEP, out)
    }

    fn load(reader: impl Read, epoch: Epoch) -> Result<Self, LoadError> {
        MemberList::load(reader, epoch).map(Self::Alone)
    }

    fn has_payloads(&self) -> bool {
        self.options().has_payloads()
    }
}

impl<I: PyId> Saved for TableOrRoster<I> {
    type Id = I;

    fn begin_save(&mut self) -> Result<SaveJob<I>, SaveError> {
        MemberTable::begin_save(self)
    }

    fn step(&mut self, job: &mut SaveJob<I>, out: &mut Vec<u8>) -> Result<bool, SaveError> {
        let table: &mut MemberTable<I> = self;
        job.step(table, SAVE_STEP, out)
    }

    fn load(reader: impl Read, epoch: Epoch) -> Result<Self, LoadError> {
        MemberTable::load(reader, epoch).map(Self::Alone)
    }

    fn has_payloads(&self) -> bool {
        MemberTable::has_payloads(self)
    }
}

/// Saves to a path or to an object with `write`.
pub(crate) fn save<S: Saved>(
    py: Python<'_>,
    saved: &Locked<S>,
    file: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let job = begin(py, saved)?;
    let mut sink = Sink::open(file)?;
    let written = write(py, saved, job, &mut sink);
    if written.is_err() {
        sink.discard();
    }
    written
}

/// Returns the bytes of a file.
pub(crate) fn dump<'py, S: Saved>(
    py: Python<'py>,
    saved: &Locked<S>,
) -> PyResult<Bound<'py, PyBytes>> {
    let job = begin(py, saved)?;
    let mut file = Vec::new();
    write(py, saved, job, &mut Sink::Memory(&mut file))?;
    bytes(py, &file)
}

fn begin<S: Saved>(py: Python<'_>, saved: &Locked<S>) -> PyResult<SaveJob<S::Id>> {
    saved.write(py, S::begin_save)?.map_err(raise)
}

fn write<S: Saved>(
    py: Python<'_>,
    saved: &Locked<S>,
    mut job: SaveJob<S::Id>,
    sink: &mut Sink<'_>,
) -> PyResult<()> {
    loop {
        let mut data = Vec::new();
        let step = saved.write_long(py, |saved| saved.step(&mut job, &mut data));
        let is_over = step?.map_err(raise)?;
        sink.write(py, &data)?;
        if is_over {
            return sink.commit(py);
        }
        py.check_signals()?;
    }
}

/// Returns the epoch that what is loaded begins: by default the time in milliseconds.
pub(crate) fn epoch(number: Option<u64>, node: &str) -> Epoch {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH);
    let now = || now().map_or(1, |time| time.as_millis() as u64);
    Epoch::new(node, number.unwrap_or_else(now))
}

/// What was loaded, as an object of Python holds it.
type Loaded<S> = Arc<Locked<S>>;

/// Loads from a path or from an object with `read`, with the interpreter released.
pub(crate) fn load<Int: Saved, Uuid: Saved, Text: Saved>(
    file: &Bound<'_, PyAny>,
    format: Option<BodyFormat>,
    epoch: Epoch,
) -> PyResult<OfKind<Loaded<Int>, Loaded<Uuid>, Loaded<Text>>> {
    let py = file.py();
    let mut reader = Source::open(file)?;
    let start = py.detach(|| start_of(&mut reader));
    let start = start.map_err(|error| failed(&mut reader, error))?;
    let file = Opened {
        start,
        reader,
        format,
        epoch,
    };
    Ok(match SavedIds::of(&file.start) {
        Some(SavedIds::U128) => OfKind::Uuid(file.load(py)?),
        Some(SavedIds::Text) => OfKind::Text(file.load(py)?),
        // The load says why it is none.
        _ => OfKind::Int(file.load(py)?),
    })
}

/// Reads the bytes of a file that tell its ids, or all that it has.
fn start_of(reader: &mut BufReader<Source>) -> Result<Vec<u8>, LoadError> {
    let mut start = Vec::new();
    let read = reader.take(SavedIds::BYTES as u64).read_to_end(&mut start);
    let offset = start.len() as u64;
    match read {
        Ok(_) => Ok(start),
        Err(error) => Err(LoadError::Io { error, offset }),
    }
}

/// A file of which the start has been read.
struct Opened {
    start: Vec<u8>,
    reader: BufReader<Source>,
    format: Option<BodyFormat>,
    epoch: Epoch,
}

impl Opened {
    fn load<S: Saved>(self, py: Python<'_>) -> PyResult<Loaded<S>> {
        let mut reader = self.reader;
        let loaded = py.detach(|| {
            let whole = Cursor::new(self.start).chain(&mut reader);
            S::load(whole, self.epoch)
        });
        let loaded = loaded.map_err(|error| failed(&mut reader, error))?;
        if loaded.has_payloads() == self.format.is_some() {
            return Ok(Arc::new(Locked::new(loaded)));
        }
        let text = match self.format {
            None => "the members have payloads: say whether they are \"json\" or \"raw\"",
            Some(_) => "the members have no payloads",
        };
        Err(ListError::new_err((text, "other_payloads")))
    }
}

/// A function and its arguments, by which `pickle` and `copy` make an object.
pub(crate) type Pickle<'py> = (
    Bound<'py, PyAny>,
    (Bound<'py, PyBytes>, Option<&'static str>),
);

/// Returns the pickle of a file, which a function of `headcount._saved` loads.
pub(crate) fn pickle<'py>(
    py: Python<'py>,
    loader: &str,
    file: Bound<'py, PyBytes>,
    format: Option<BodyFormat>,
) -> PyResult<Pickle<'py>> {
    let loader = py.import("headcount._saved")?.getattr(loader)?;
    let payloads = format.map(|format| match format {
        BodyFormat::Json => "json",
        BodyFormat::Raw => "raw",
    });
    Ok((loader, (file, payloads)))
}
