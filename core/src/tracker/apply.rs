//! Applying frames of other replicas. Everything is checked before anything changes.

use std::sync::Arc;

use super::diff::{Diff, DiffBuilder};
use super::entry::{EntryVersions, NewEntry};
use super::origin::OriginState;
use super::slab::NIL;
use super::wire::{DeltaHead, Place, Record, Records, RepairHead};
use super::{LOCAL, Tracker};
use crate::codec::{DecodeError, DecodeErrorKind, Envelope, Kind, Reader};
use crate::error::ApplyError;
use crate::fault::{Fault, is_broken};
use crate::id::Origin;

/// A `Delta` that passed every check.
struct DeltaPlan {
    head: DeltaHead,
    start: Place,
    /// The number of its origin, if it is known.
    known: Option<u16>,
    /// The clock of its origin here.
    clock: u64,
}

impl Tracker {
    /// Applies a frame made by [`delta_since`](Self::delta_since) and tells what changed. A frame
    /// that brings nothing new is ignored. O(changes).
    ///
    /// ```
    /// use headcount::{NewEntry, ReplicaId, Tracker};
    /// let mut a = Tracker::new(ReplicaId::new("a", 1, 0)?);
    /// let mut b = Tracker::new(ReplicaId::new("b", 1, 0)?);
    /// a.track(&NewEntry::new("room", "ann", "conn-1"))?;
    /// let frame = a.delta_since(a.id(), b.clock(a.id())).expect("b misses something");
    /// let diff = b.apply(&frame)?;
    /// assert_eq!(diff.topic("room").unwrap().joins.len(), 1);
    /// assert_eq!(b.count("room"), 1);
    /// assert!(b.apply(&frame)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A [`Gap`](ApplyError::Gap) says that frames are missing in between; the other kinds say what
    /// is wrong with the frame. Nothing has changed then.
    pub fn apply(&mut self, frame: &[u8]) -> Result<Diff, ApplyError> {
        let (kind, body) = Self::open(frame)?;
        let applied = match kind {
            Kind::REPAIR => self.apply_repair(body, false),
            _ => self.apply_delta(body),
        };
        applied.map_err(in_frame)
    }

    /// Returns whether [`apply`](Self::apply) would take a frame. O(frame).
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn check_frame(&self, frame: &[u8]) -> Result<(), ApplyError> {
        let (kind, body) = Self::open(frame)?;
        let checked = match kind {
            Kind::REPAIR => self.check_repair(body),
            _ => self.plan_delta(body).map(drop),
        };
        checked.map_err(in_frame)
    }

    /// The kind and the body of a `Delta` or `Repair` frame.
    fn open(frame: &[u8]) -> Result<(Kind, &[u8]), DecodeError> {
        let (kind, body) = Envelope::default().open(frame)?;
        match kind {
            Kind::DELTA | Kind::REPAIR => Ok((kind, body)),
            Kind(kind) => Err(DecodeError::new(
                4,
                DecodeErrorKind::UnexpectedKind { kind },
            )),
        }
    }

    /// The slot a frame of [`delta_since`](Self::delta_since) is for.
    ///
    /// # Errors
    /// When it is no such frame.
    pub fn frame_slot(frame: &[u8]) -> Result<u8, DecodeError> {
        let (kind, body) = Self::open(frame)?;
        let origin = match kind {
            Kind::REPAIR => RepairHead::decode(body).map(|head| head.origin),
            _ => DeltaHead::decode(body).map(|head| head.origin),
        };
        let origin = origin.map_err(|error| error.shifted(Envelope::default().body_offset()))?;
        Ok(origin.slot)
    }

    /// Applies the body of a `Delta` frame. O(changes).
    ///
    /// # Errors
    /// As [`apply`](Self::apply); offsets are those in the body.
    pub fn apply_delta(&mut self, body: &[u8]) -> Result<Diff, ApplyError> {
        let Some(plan) = self.plan_delta(body)? else {
            return Ok(Diff::default());
        };
        let DeltaPlan {
            head,
            start,
            known,
            clock,
        } = plan;
        let mut diff = DiffBuilder::default();
        let number = self.make_room(&head.origin, known, &mut diff);
        let limits = self.limits.clone();
        let mut records = Records::new(body, &limits, head.origin.slot, start);
        while let Some(record) = records.next()? {
            self.apply_record(number, record, clock, &mut diff);
        }
        self.origins.get_mut(number).clock = head.to;
        Ok(diff.finish())
    }

    /// Checks a `Delta` whole. `None` when it brings nothing new.
    fn plan_delta(&self, body: &[u8]) -> Result<Option<DeltaPlan>, ApplyError> {
        let mut reader = Reader::new(body);
        let head = DeltaHead::read(&mut reader)?;
        let start = Place::start(reader.offset(), (head.from, head.to));
        let known = self.admit(&head.origin)?;
        let clock = known.map_or(0, |n| self.origins.get(n).clock);
        self.check_delta(&head, body, &start, (known, clock))?;
        if head.to <= clock {
            return Ok(None);
        }
        if head.from > clock && !is_broken(Fault::ApplyOverGap) {
            return Err(ApplyError::Gap {
                clock,
                from: head.from,
            });
        }
        Ok(Some(DeltaPlan {
            head,
            start,
            known,
            clock,
        }))
    }

    /// The number of the frame's origin, if it is known; an error if its frames are not for us.
    pub(super) fn admit(&self, origin: &Origin) -> Result<Option<u16>, ApplyError> {
        if origin.slot != self.slot {
            let frame_slot = origin.slot;
            let tracker_slot = self.slot;
            return Err(ApplyError::WrongSlot {
                frame_slot,
                tracker_slot,
            });
        }
        let Some(number) = self.origins.by_name(origin.replica.name()) else {
            if self.origins.len() >= usize::from(self.limits.origins_max) {
                return Err(ApplyError::TooManyOrigins {
                    max: self.limits.origins_max,
                });
            }
            return Ok(None);
        };
        let known = self.origins.get(number);
        if number == LOCAL {
            return Err(ApplyError::OwnOrigin);
        }
        match origin.replica.cmp(&known.id) {
            std::cmp::Ordering::Less => Err(ApplyError::Superseded),
            std::cmp::Ordering::Equal if known.applying.is_some() => Err(ApplyError::Applying),
            std::cmp::Ordering::Equal => Ok(Some(number)),
            std::cmp::Ordering::Greater => Ok(None),
        }
    }

    /// The number of the origin, new if need be. A lower incarnation of the name goes.
    pub(super) fn make_room(
        &mut self,
        origin: &Origin,
        known: Option<u16>,
        diff: &mut DiffBuilder,
    ) -> u16 {
        if let Some(number) = known {
            return number;
        }
        if let Some(lower) = self.origins.by_name(origin.replica.name()) {
            self.drop_origin(lower, diff);
        }
        self.origins.add(origin.replica.clone())
    }

    fn check_delta(
        &self,
        head: &DeltaHead,
        body: &[u8],
        start: &Place,
        (known, clock): (Option<u16>, u64),
    ) -> Result<(), ApplyError> {
        let applicable = head.from <= clock && clock < head.to;
        let origin = known.filter(|_| applicable).map(|n| self.origins.get(n));
        let mut records = Records::new(body, &self.limits, head.origin.slot, start.clone());
        let mut puts = 0u32;
        while let Some(record) = records.next()? {
            puts += u32::from(matches!(record, Record::NewEntry { .. }));
            if let Some(origin) = origin {
                self.check_against(origin, record, clock)?;
            }
        }
        self.check_room(puts)
    }

    /// Returns whether a record fits the state at `clock`: what it builds on must be there.
    pub(super) fn check_against(
        &self,
        origin: &OriginState,
        record: Record<'_>,
        clock: u64,
    ) -> Result<(), ApplyError> {
        let by_birth = |birth| origin.by_birth(&self.store.slab, birth);
        let (op, fits) = match record {
            Record::NewEntry { versions, .. } if versions.birth > clock => (versions.version, true),
            Record::NewEntry { put, versions } => {
                let EntryVersions { birth, version, .. } = versions;
                let fits = by_birth(birth).is_some_and(|index| {
                    let at = self.store.slab[index].version;
                    let in_order = if version <= clock {
                        at == version
                    } else {
                        at < version
                    };
                    in_order && self.same_place(index, &put)
                });
                (version, fits)
            }
            Record::Leave(leave) => {
                let builds_on_state = leave.op > clock && leave.birth <= clock;
                (
                    leave.op,
                    !builds_on_state || by_birth(leave.birth).is_some(),
                )
            }
        };
        if fits {
            Ok(())
        } else {
            Err(ApplyError::Diverged { op })
        }
    }

    pub(super) fn check_room(&self, puts: u32) -> Result<(), ApplyError> {
        if self.store.slab.len().saturating_add(puts) > self.limits.entries_max {
            return Err(ApplyError::TooManyEntries {
                max: self.limits.entries_max,
            });
        }
        Ok(())
    }

    /// Inserts or updates an entry of a remote origin; it becomes the newest of it.
    pub(super) fn put_remote(
        &mut self,
        number: u16,
        put: &NewEntry<'_>,
        versions: EntryVersions,
        diff: &mut DiffBuilder,
    ) {
        let origin = self.origins.get(number);
        let known = origin.by_birth(&self.store.slab, versions.birth);
        match known {
            Some(index) if self.same_place(index, put) => {
                self.update_remote(number, index, put, versions, diff);
                return;
            }
            Some(index) => self.remove_remote(number, index, diff),
            None => {}
        }
        let location = self.store.locate(put.topic, put.encoding, put.key);
        let index = self.store.insert(location, put, number, versions);
        let fingerprint = self.store.fingerprint(index);
        let origin = self.origins.get_mut(number);
        origin.append(&mut self.store.slab, index);
        origin.add_birth(&self.store.slab, index);
        origin.len += 1;
        origin.fingerprint = origin.fingerprint.wrapping_add(fingerprint);
        if self.origins.is_visible(number) {
            self.tell_join(index, diff);
        }
    }

    fn update_remote(
        &mut self,
        number: u16,
        index: u32,
        put: &NewEntry<'_>,
        versions: EntryVersions,
        diff: &mut DiffBuilder,
    ) {
        let slot = &self.store.slab[index];
        let changed = self.store.versions(index) != versions
            || slot.status != put.status
            || self.store.parts(index).owner != put.owner
            || self.store.parts(index).meta != put.meta;
        let old = (changed && self.origins.is_visible(number)).then(|| self.entry(index).to_buf());
        let before = self.store.fingerprint(index);
        if changed {
            self.store.rewrite(index, put, versions);
        }
        let after = self.store.fingerprint(index);
        let origin = self.origins.get_mut(number);
        origin.unlink(&mut self.store.slab, index);
        origin.append(&mut self.store.slab, index);
        origin.fingerprint = origin.fingerprint.wrapping_sub(before).wrapping_add(after);
        if let Some(old) = old {
            let topic = Arc::clone(&self.store.topic(self.store.slab[index].topic).name);
            diff.update(&topic, old, self.entry(index).to_buf());
        }
    }

    pub(super) fn remove_remote(&mut self, number: u16, index: u32, diff: &mut DiffBuilder) {
        if self.origins.is_visible(number) {
            let topic = &self.store.topic(self.store.slab[index].topic).name;
            diff.leave(topic, self.entry(index).to_buf());
        }
        self.unlink_remote(number, index);
    }

    /// Removes an entry of another origin without a word.
    pub(super) fn unlink_remote(&mut self, number: u16, index: u32) {
        let fingerprint = self.store.fingerprint(index);
        let origin = self.origins.get_mut(number);
        origin.unlink(&mut self.store.slab, index);
        origin.remove_birth(&self.store.slab, index);
        origin.len -= 1;
        origin.fingerprint = origin.fingerprint.wrapping_sub(fingerprint);
        self.store.remove(index);
    }

    pub(super) fn drop_origin(&mut self, number: u16, diff: &mut DiffBuilder) {
        loop {
            let newest = self.origins.get(number).newest;
            if newest == NIL {
                break;
            }
            self.remove_remote(number, newest, diff);
        }
        self.origins.remove(number);
    }

    /// Returns whether an entry has the topic and key of `put`; its owner may change.
    fn same_place(&self, index: u32, put: &NewEntry<'_>) -> bool {
        let slot = &self.store.slab[index];
        let parts = self.store.parts(index);
        slot.encoding == put.encoding as u8
            && parts.key == put.key
            && *self.store.topic(slot.topic).name == *put.topic
    }
}

/// Turns an offset in the body into one in the frame.
fn in_frame(error: ApplyError) -> ApplyError {
    match error {
        ApplyError::Decode(error) => error.shifted(Envelope::default().body_offset()).into(),
        other => other,
    }
}
