//! `Partitions`: the entries, one tracker for each partition that holds any.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use super::message::{Data, Delta, Position, Repair, Same};
use super::output::{Action, Apply, Outcome, Pushed, Report, Serve, Served};
use super::shape::Shape;
use crate::error::{ApplyError, TrackError};
use crate::fault::{Fault, is_broken};
use crate::id::{EntryRef, ReplicaId};
use crate::tracker::{Content, Diff, Entry, Limits, NewEntry, TopicShare, Tracker};

/// The entries of this node and those that it holds of others.
///
/// A partition has a tracker while this node occupies it or holds something in it.
#[derive(Debug, Clone)]
pub(crate) struct Partitions {
    shape: Shape,
    id: ReplicaId,
    limits: Limits,
    /// The last operation of every own life that has ended: later lives begin above it.
    floor: u64,
    hidden: HashSet<ReplicaId>,
    parts: BTreeMap<u16, Partition>,
}

#[derive(Debug, Clone)]
struct Partition {
    tracker: Tracker,
    /// True while the own origin has a life.
    is_occupied: bool,
    /// The replica and the life that are held of each other name.
    lives: HashMap<Box<str>, (ReplicaId, u64)>,
}

impl Partition {
    /// Returns the life that is held of exactly this replica.
    fn life(&self, id: &ReplicaId) -> Option<u64> {
        let (held, life) = self.lives.get(id.name())?;
        (held == id).then_some(*life)
    }

    /// Notes the life that is held of a replica; the tracker has dropped an earlier one of its
    /// name.
    fn set_life(&mut self, id: &ReplicaId, life: u64) {
        match self.lives.get_mut(id.name()) {
            Some(held) => *held = (id.clone(), life),
            None => {
                let name = id.name().into();
                self.lives.insert(name, (id.clone(), life));
            }
        }
    }
}

/// The own state of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnState {
    pub(crate) partition: u16,
    pub(crate) clock: u64,
    pub(crate) entries: u32,
}

/// The answer to an action.
#[derive(Debug)]
pub(crate) enum Answered {
    Nothing,
    Push(Pushed),
    Pull(Served),
    /// The report on a frame, and its Diffs, in order.
    Applied(Report, Vec<Diff>),
    /// The Diffs of a change without a frame.
    Changed(Vec<Diff>),
}

impl Partitions {
    pub(crate) fn new(id: ReplicaId, shape: Shape, limits: Limits) -> Self {
        Self {
            shape,
            id,
            limits,
            floor: 0,
            hidden: HashSet::new(),
            parts: BTreeMap::new(),
        }
    }

    /// Starts to track an entry. Returns its reference and the own state of its partition.
    ///
    /// # Errors
    /// Those of [`Tracker::track`]; nothing has changed then.
    pub(crate) fn track(
        &mut self,
        entry: &NewEntry<'_>,
    ) -> Result<(EntryRef, OwnState), TrackError> {
        let partition = self.shape.partition_of(entry.topic);
        let floor = self.floor;
        let part = self.part(partition);
        if !part.is_occupied && !is_broken(Fault::RestartTicks) {
            part.tracker.begin_life(floor);
        }
        let tracked = part.tracker.track(entry);
        part.is_occupied |= tracked.is_ok();
        self.tidy(partition);
        Ok((tracked?, self.own_state(partition)))
    }

    /// Replaces the content of an own entry.
    ///
    /// # Errors
    /// Those of [`Tracker::update`]; nothing has changed then.
    pub(crate) fn update(
        &mut self,
        entry: &NewEntry<'_>,
    ) -> Result<(EntryRef, OwnState), TrackError> {
        let partition = self.shape.partition_of(entry.topic);
        let Some(part) = self.parts.get_mut(&partition) else {
            return Err(TrackError::NotTracked);
        };
        let entry_ref = part.tracker.update(entry)?;
        Ok((entry_ref, self.own_state(partition)))
    }

    /// Removes an own entry. Returns the own state of its partition; `None` if there is no such
    /// entry.
    pub(crate) fn untrack(&mut self, topic: &str, key: &str, owner: &str) -> Option<OwnState> {
        let partition = self.shape.partition_of(topic);
        let part = self.parts.get_mut(&partition)?;
        let is_removed = part.tracker.untrack(topic, key, owner);
        is_removed.then(|| self.own_state(partition))
    }

    fn own_state(&self, partition: u16) -> OwnState {
        let part = self.parts.get(&partition);
        let own = part.and_then(|part| part.tracker.origin_info(&self.id));
        OwnState {
            partition,
            clock: own.as_ref().map_or(0, |own| own.clock),
            entries: own.map_or(0, |own| own.entries),
        }
    }

    /// Returns all visible entries of a topic. O(entries).
    pub(crate) fn list(&self, topic: &str) -> impl Iterator<Item = Entry<'_>> {
        let part = self.parts.get(&self.shape.partition_of(topic));
        part.into_iter().flat_map({
            let topic = topic.to_owned();
            move |part| part.tracker.list(&topic).collect::<Vec<_>>()
        })
    }

    /// Returns what is held of another replica in a partition. O(1).
    pub(crate) fn position(&self, id: &ReplicaId, partition: u16) -> Option<Position> {
        let part = self.parts.get(&partition)?;
        let info = part.tracker.origin_info(id)?;
        Some(Position {
            life: part.life(id)?,
            clock: info.clock,
            fingerprint: info.fingerprint,
        })
    }

    /// Returns the trackers with their partitions.
    pub(crate) fn trackers(&self) -> impl Iterator<Item = (u16, &Tracker)> {
        let parts = self.parts.iter();
        parts.map(|(partition, part)| (*partition, &part.tracker))
    }

    /// Does what a replica asks for.
    pub(crate) fn execute(&mut self, action: Action) -> Answered {
        match action {
            Action::Push { partition, since } => Answered::Push(self.push(partition, since)),
            Action::Serve(serve) => Answered::Pull(self.serve(&serve)),
            Action::Apply(apply) => self.apply(&apply),
            Action::Drop { id, partition } => {
                let diff = self.drop_origin(&id, partition);
                Answered::Changed(diff.into_iter().collect())
            }
            Action::Vacate { partition, clock } => {
                self.vacate(partition, clock);
                Answered::Nothing
            }
            Action::Hide(id) => {
                self.set_hidden(&id, true);
                self.hidden.insert(id);
                Answered::Nothing
            }
            Action::Show(id) => {
                self.set_hidden(&id, false);
                self.hidden.remove(&id);
                Answered::Nothing
            }
            Action::Forget(id) => {
                self.hidden.remove(&id);
                let partitions: Vec<_> = self.parts.keys().copied().collect();
                let diffs = partitions
                    .into_iter()
                    .filter_map(|p| self.drop_origin(&id, p));
                Answered::Changed(diffs.collect())
            }
            Action::Reincarnate(id) => {
                let parts = self.parts.values_mut();
                let diffs = parts.map(|part| part.tracker.reincarnate(id.clone()));
                let diffs = diffs.filter(|diff| !diff.is_empty()).collect();
                self.id = id;
                Answered::Changed(diffs)
            }
        }
    }

    fn push(&self, partition: u16, since: u64) -> Pushed {
        let part = self.parts.get(&partition);
        let own = part.and_then(|part| part.tracker.origin_info(&self.id));
        let records = part.and_then(|part| part.tracker.records_since(since));
        Pushed {
            partition,
            since,
            clock: own.as_ref().map_or(since, |own| own.clock),
            fingerprint: own.map_or(0, |own| own.fingerprint),
            records: records.map(Bytes::from),
        }
    }

    fn serve(&self, serve: &Serve) -> Served {
        let part = self.parts.get(&serve.partition);
        let own = part.and_then(|part| Some((part, part.tracker.origin_info(&self.id)?)));
        let data = own.and_then(|(part, own)| {
            if serve.clock > own.clock {
                return None;
            }
            let base = if serve.is_full { 0 } else { serve.clock };
            if base == own.clock {
                return Some(Data::Same(Same {
                    life: serve.life,
                    clock: own.clock,
                    fingerprint: own.fingerprint,
                    version: serve.version,
                    nonce: serve.nonce,
                }));
            }
            let records = (base > 0)
                .then(|| part.tracker.records_since(base))
                .flatten();
            Some(match records {
                Some(records) => Data::Delta(Delta {
                    life: serve.life,
                    from: base,
                    to: own.clock,
                    records: records.into(),
                }),
                None => Data::Repair(Repair {
                    life: serve.life,
                    base,
                    to: own.clock,
                    nonce: serve.nonce,
                    content: part.tracker.repair_since(base).into(),
                }),
            })
        });
        Served {
            reply: serve.reply,
            partition: serve.partition,
            data,
        }
    }

    fn apply(&mut self, apply: &Apply) -> Answered {
        let mut diffs = Vec::new();
        let held = self.position(&apply.id, apply.partition);
        let outcome = match held {
            Some(held) if apply.life < held.life => Outcome::Done,
            Some(held) if apply.life > held.life && apply.from > 0 => Outcome::Gap,
            Some(held) if apply.life > held.life => {
                diffs.extend(self.drop_origin(&apply.id, apply.partition));
                self.apply_content(apply, &mut diffs)
            }
            _ => self.apply_content(apply, &mut diffs),
        };
        self.tidy(apply.partition);
        let report = Report {
            id: apply.id.clone(),
            partition: apply.partition,
            held: self.position(&apply.id, apply.partition),
            answers: apply.answers,
            outcome,
        };
        Answered::Applied(report, diffs)
    }

    fn apply_content(&mut self, apply: &Apply, diffs: &mut Vec<Diff>) -> Outcome {
        let is_hidden = self.hidden.contains(&apply.id);
        let part = self.part(apply.partition);
        let content = Content {
            from: apply.from,
            to: apply.to,
            bytes: &apply.content,
        };
        let applied = if apply.answers.is_some() {
            part.tracker
                .apply_content(&apply.id, content, apply.is_full)
        } else {
            part.tracker.apply_records(&apply.id, content)
        };
        match applied {
            Ok(diff) => {
                part.set_life(&apply.id, apply.life);
                if is_hidden {
                    part.tracker.set_hidden(&apply.id, true);
                }
                diffs.push(diff);
                Outcome::Done
            }
            Err(ApplyError::Gap { .. }) => Outcome::Gap,
            Err(ApplyError::Diverged { .. }) => Outcome::Contradicts,
            Err(error) => Outcome::Refused(error),
        }
    }

    fn drop_origin(&mut self, id: &ReplicaId, partition: u16) -> Option<Diff> {
        let part = self.parts.get_mut(&partition)?;
        part.life(id)?;
        part.lives.remove(id.name());
        let diff = part.tracker.forget(id);
        self.tidy(partition);
        Some(diff)
    }

    fn vacate(&mut self, partition: u16, clock: u64) {
        let own = self.own_state(partition);
        let is_unchanged = own.entries == 0 && own.clock == clock;
        if let Some(part) = self.parts.get_mut(&partition)
            && is_unchanged
        {
            part.is_occupied = false;
            self.floor = self.floor.max(clock);
            self.tidy(partition);
        }
    }

    fn set_hidden(&mut self, id: &ReplicaId, is_hidden: bool) {
        for part in self.parts.values_mut() {
            part.tracker.set_hidden(id, is_hidden);
        }
    }

    /// Returns a partition, made if it has no tracker.
    fn part(&mut self, partition: u16) -> &mut Partition {
        let share = TopicShare::new(self.shape.bits(), partition);
        self.parts.entry(partition).or_insert_with(|| Partition {
            tracker: Tracker::with_share(self.id.clone(), share, self.limits.clone()),
            is_occupied: false,
            lives: HashMap::new(),
        })
    }

    /// Drops the tracker of a partition in which nothing is.
    fn tidy(&mut self, partition: u16) {
        let part = self.parts.get(&partition);
        if part.is_some_and(|part| !part.is_occupied && part.lives.is_empty()) {
            self.parts.remove(&partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "room";

    fn partitions(name: &str) -> Partitions {
        let id = ReplicaId::new(name, 1, 0).unwrap();
        Partitions::new(id, Shape::default(), Limits::default())
    }

    fn room() -> u16 {
        Shape::default().partition_of(ROOM)
    }

    fn track(partitions: &mut Partitions, key: &str) -> u64 {
        let tracked = partitions.track(&NewEntry::new(ROOM, key, "conn"));
        tracked.unwrap().1.clock
    }

    /// Returns the push of a partition as a frame of a life.
    fn pushed(partitions: &Partitions, life: u64, since: u64) -> Apply {
        let pushed = partitions.push(room(), since);
        Apply {
            id: partitions.id.clone(),
            partition: room(),
            life,
            from: since,
            to: pushed.clock,
            content: pushed.records.unwrap(),
            answers: None,
            is_full: false,
        }
    }

    #[track_caller]
    fn apply(partitions: &mut Partitions, apply: &Apply) -> Report {
        match partitions.apply(apply) {
            Answered::Applied(report, _) => report,
            other => panic!("{other:?}"),
        }
    }

    fn keys(partitions: &Partitions) -> Vec<&str> {
        let entries = partitions.list(ROOM);
        let mut keys: Vec<_> = entries.filter_map(|entry| entry.key_str()).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn later_lives_begin_above_all_earlier_ones() {
        let mut a = partitions("a");
        assert_eq!(track(&mut a, "ann"), 1);
        let state = a.untrack(ROOM, "ann", "conn").unwrap();
        assert_eq!((state.clock, state.entries), (2, 0));
        a.vacate(room(), 1);
        assert_eq!(a.trackers().count(), 1, "it has moved since");
        a.vacate(room(), 2);
        assert_eq!(a.trackers().count(), 0);
        assert_eq!(track(&mut a, "bob"), 3);
        let other = a.track(&NewEntry::new("other room", "bob", "conn"));
        assert_eq!(other.unwrap().1.clock, 3, "the floor is that of the node");
    }

    #[test]
    fn a_later_life_replaces_and_an_earlier_one_is_ignored() {
        let mut a = partitions("a");
        let mut b = partitions("b");
        track(&mut a, "ann");
        let first = pushed(&a, 1, 0);
        assert_eq!(apply(&mut b, &first).outcome, Outcome::Done);
        a.untrack(ROOM, "ann", "conn");
        a.vacate(room(), 2);
        track(&mut a, "bob");
        track(&mut a, "cid");
        let over_a_gap = pushed(&a, 3, 3);
        assert_eq!(apply(&mut b, &over_a_gap).outcome, Outcome::Gap);
        assert_eq!(keys(&b), ["ann"]);
        let report = apply(&mut b, &pushed(&a, 3, 0));
        let held = report.held.unwrap();
        assert_eq!((held.life, held.clock), (3, 4));
        assert_eq!(keys(&b), ["bob", "cid"]);
        assert_eq!(apply(&mut b, &first).held, Some(held));
        b.drop_origin(&a.id, room());
        assert_eq!((b.position(&a.id, room()), b.trackers().count()), (None, 0));
    }

    #[test]
    fn a_topic_of_another_partition_is_refused() {
        let mut a = partitions("a");
        let mut b = partitions("b");
        track(&mut a, "ann");
        let mut frame = pushed(&a, 1, 0);
        frame.partition = (room() + 1) % 32;
        let report = apply(&mut b, &frame);
        assert!(matches!(report.outcome, Outcome::Refused(_)), "{report:?}");
        assert_eq!((report.held, b.trackers().count()), (None, 0));
    }

    #[test]
    fn askers_are_sent_what_they_miss() {
        let mut a = partitions("a");
        track(&mut a, "ann");
        track(&mut a, "bob");
        let serve = |clock, is_full| Serve {
            reply: 1,
            partition: room(),
            life: 1,
            clock,
            is_full,
            nonce: 7,
            version: 1,
        };
        let served = |clock, is_full| a.serve(&serve(clock, is_full)).data;
        assert!(matches!(
            served(0, false),
            Some(Data::Repair(Repair {
                base: 0,
                to: 2,
                nonce: 7,
                ..
            }))
        ));
        assert!(matches!(
            served(1, false),
            Some(Data::Delta(Delta { from: 1, to: 2, .. }))
        ));
        assert!(matches!(
            served(2, false),
            Some(Data::Same(Same {
                clock: 2,
                nonce: 7,
                ..
            }))
        ));
        assert!(matches!(
            served(2, true),
            Some(Data::Repair(Repair { base: 0, .. }))
        ));
        assert_eq!(served(3, false), None, "the asker has heard a second self");
    }

    #[test]
    fn entries_of_a_replica_that_is_down_stay_hidden_whatever_comes() {
        let mut a = partitions("a");
        let mut b = partitions("b");
        track(&mut a, "ann");
        b.execute(Action::Hide(a.id.clone()));
        apply(&mut b, &pushed(&a, 1, 0));
        assert!(keys(&b).is_empty());
        b.execute(Action::Show(a.id.clone()));
        assert_eq!(keys(&b), ["ann"]);
    }

    #[test]
    fn a_new_identity_offers_the_same_entries() {
        let mut a = partitions("a");
        let mut b = partitions("b");
        track(&mut a, "ann");
        apply(&mut b, &pushed(&a, 1, 0));
        let new = ReplicaId::new("a", 2, 0).unwrap();
        a.execute(Action::Reincarnate(new.clone()));
        b.execute(Action::Forget(ReplicaId::new("a", 1, 0).unwrap()));
        assert!(keys(&b).is_empty());
        apply(&mut b, &pushed(&a, 1, 0));
        assert_eq!(keys(&b), ["ann"]);
        assert!(b.position(&new, room()).is_some());
    }
}
