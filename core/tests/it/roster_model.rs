//! A roster beside a naive one, which keeps every session with what it says of the row, on sessions
//! of all statuses, refused and hidden ones, missed Diffs, resets, and writes of the application.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use headcount::id::{Dot, Origin, ReplicaId};
use headcount::roster::{OfflinePolicy, RosterReport};
use headcount::tracker::{Leave, LeaveReason, Update};
use headcount::{
    EntryBuf, GroupId, ListOptions, MemberList, NewEntry, Placement, Roster, RosterOptions,
    SortKey, Status, TopicDiff,
};
use proptest::prelude::*;

const USERS: u64 = 5;
const STATUS_BITS: u32 = 0b0110;
const GROUPS: [&str; 3] = ["here", "away", "gone"];
const GONE: GroupId = GroupId(2);

/// The row that a session wants for its user; the parts that it leaves out are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wish {
    group: Option<GroupId>,
    key: Option<u64>,
    bits: u32,
    payload: Option<Bytes>,
}

/// Reads the meta of a session: `None` if it does not count, `Err` if the mapping fails.
fn wish_of(entry: &EntryBuf) -> Result<Option<Wish>, &'static str> {
    let &[group, key, bits, payload] = entry.meta() else {
        unreachable!("metas have four bytes");
    };
    match bits % 16 {
        0 => return Ok(None),
        1 => return Err("no placement"),
        _ => {}
    }
    Ok(Some(Wish {
        // The last one is no group of the list.
        group: (group % 8 > 0).then(|| GroupId(u32::from(group % 8 / 2))),
        key: (key % 8 > 0).then(|| u64::from(key % 8)),
        bits: u32::from(bits) >> 4 & (STATUS_BITS | u32::from(bits % 16 == 2)),
        payload: (payload % 3 > 0).then(|| Bytes::copy_from_slice(&[payload])),
    }))
}

fn mapping(entry: &EntryBuf) -> Result<Option<Placement>, &'static str> {
    let Some(wish) = wish_of(entry)? else {
        return Ok(None);
    };
    let mut placement = Placement::new(Status::of_session(entry.status())).bits(wish.bits);
    if let Some(group) = wish.group {
        placement = placement.group(group);
    }
    if let Some(key) = wish.key {
        placement = placement.key(SortKey::from_u64(key));
    }
    if let Some(payload) = wish.payload {
        placement = placement.payload(payload);
    }
    Ok(Some(placement))
}

#[derive(Clone, Debug)]
struct Session {
    entry: EntryBuf,
    /// The parts that the session names.
    said: Wish,
    /// The row while the session decides, and as it was then; `None` if there was no row.
    wish: Option<Wish>,
}

impl Session {
    fn status(&self) -> Status {
        Status::of_session(self.entry.status())
    }

    fn is(&self, entry: &EntryBuf) -> bool {
        self.entry.entry_ref() == entry.entry_ref()
    }
}

#[derive(Clone, Debug, PartialEq)]
struct RowModel {
    group: GroupId,
    key: u64,
    attrs: u32,
    payload: Bytes,
    revision: u32,
}

/// The naive roster.
struct Model {
    priority: Vec<Status>,
    keeps_offline: bool,
    sessions: Vec<Session>,
    rows: BTreeMap<u64, RowModel>,
    last_seen: BTreeMap<u64, u64>,
    changes: Vec<(u64, Status, Status)>,
    refused: Vec<u64>,
}

fn user_of(entry: &EntryBuf) -> u64 {
    entry
        .key_str()
        .and_then(|key| key.parse().ok())
        .expect("an id")
}

impl Model {
    fn deciding(&self, user: u64) -> Option<&Session> {
        let rank = |status| {
            let place = self.priority.iter().position(|known| *known == status);
            place.unwrap_or(usize::MAX)
        };
        let mine = self
            .sessions
            .iter()
            .filter(|session| user_of(&session.entry) == user);
        mine.min_by_key(|session| {
            let version = session.entry.version();
            (
                rank(session.status()),
                Reverse((session.entry.dot(), version)),
            )
        })
    }

    fn status(&self, user: u64) -> Status {
        self.deciding(user).map_or(Status::Offline, Session::status)
    }

    fn begin(&mut self, entry: &EntryBuf) {
        self.end(entry);
        match wish_of(entry) {
            Ok(Some(said)) if said.bits & !STATUS_BITS == 0 => self.sessions.push(Session {
                entry: entry.clone(),
                wish: Some(said.clone()),
                said,
            }),
            Ok(None) => {}
            _ => self.refused.push(user_of(entry)),
        }
    }

    fn end(&mut self, entry: &EntryBuf) {
        self.sessions.retain(|session| !session.is(entry));
    }

    /// The row of a user is what the deciding session says from now on.
    fn adopt_row(&mut self, user: u64) {
        let row = self.rows.get(&user).cloned();
        if self.status(user).outward() == Status::Offline {
            return;
        }
        let Some(entry) = self.deciding(user).map(|session| session.entry.clone()) else {
            return;
        };
        let mut sessions = self.sessions.iter_mut();
        let session = sessions
            .find(|session| session.is(&entry))
            .expect("it decides");
        session.wish = row.map(|row| Wish {
            group: session.said.group.map(|_| row.group),
            key: session.said.key.map(|_| row.key),
            bits: row.attrs & STATUS_BITS,
            payload: session.said.payload.as_ref().map(|_| row.payload),
        });
    }

    /// Changes all sessions by `work`, and then the rows of users who look different. `begun` are
    /// the entries that say their wish again. `visits` are users whom others saw in between.
    fn change(
        &mut self,
        begun: &[&EntryBuf],
        work: impl FnOnce(&mut Self) -> BTreeSet<u64>,
        list: &MemberList<u64>,
        now: u64,
    ) {
        let looks = |model: &Self, user| {
            let content = model
                .deciding(user)
                .map(|session| session.entry.entry_ref());
            (model.status(user).outward(), content)
        };
        let before: Vec<_> = (0..USERS).map(|user| looks(self, user)).collect();
        let visits = work(self);
        for (user, (old, old_content)) in (0..USERS).zip(before) {
            let (new, content) = looks(self, user);
            let other = old_content != content;
            if new == Status::Offline && (old != Status::Offline || visits.contains(&user)) {
                self.last_seen.insert(user, now);
            }
            if new != Status::Offline {
                self.last_seen.remove(&user);
            }
            if old != new || (new != Status::Offline && other) {
                self.changes.push((user, old, new));
            }
            if new != Status::Offline {
                let again = begun.iter().any(|entry| Some(entry.entry_ref()) == content);
                if other || old != new || again {
                    self.place(user, other || old != new, list);
                }
            } else if old != Status::Offline {
                self.take_offline(user);
            }
        }
    }

    fn place(&mut self, user: u64, touch: bool, list: &MemberList<u64>) {
        let wish = self.deciding(user).and_then(|session| session.wish.clone());
        let Some(wish) = wish else {
            if let Some(row) = self.rows.get_mut(&user) {
                row.revision += u32::from(touch);
            }
            self.adopt_row(user);
            return;
        };
        let row = self.rows.get(&user).cloned();
        let is_known = wish.group.is_none_or(|group| group.0 < 3);
        let fits = row.is_some() || (wish.group.is_some() && wish.key.is_some());
        if !is_known || !fits {
            self.refused.push(user);
        } else {
            let old = row.clone().unwrap_or(RowModel {
                group: GONE,
                key: 0,
                attrs: 0,
                payload: Bytes::new(),
                revision: list.get(&user).expect("a new row").revision,
            });
            let mut new = RowModel {
                group: wish.group.unwrap_or(old.group),
                key: wish.key.unwrap_or(old.key),
                attrs: old.attrs & !STATUS_BITS | wish.bits,
                payload: wish.payload.unwrap_or_else(|| old.payload.clone()),
                revision: old.revision,
            };
            let revised = touch || new.attrs != old.attrs || new.payload != old.payload;
            new.revision += u32::from(revised && row.is_some());
            self.rows.insert(user, new);
        }
        self.adopt_row(user);
    }

    fn take_offline(&mut self, user: u64) {
        if !self.keeps_offline {
            self.rows.remove(&user);
        } else if let Some(row) = self.rows.get_mut(&user) {
            row.group = GONE;
            row.attrs &= !STATUS_BITS;
            row.revision += 1;
        }
    }

    fn apply(&mut self, diff: &TopicDiff, list: &MemberList<u64>, now: u64) {
        let updated = diff.updates.iter().map(|update| &update.new);
        let begun: Vec<_> = diff.joins.iter().chain(updated).collect();
        let work = |model: &mut Self| {
            diff.joins.iter().for_each(|join| model.begin(join));
            for update in &diff.updates {
                model.end(&update.old);
                model.begin(&update.new);
            }
            let leaving = diff.leaves.iter().map(|leave| user_of(&leave.entry));
            let seen = leaving.filter(|user| model.status(*user).outward() != Status::Offline);
            let seen = seen.collect();
            diff.leaves.iter().for_each(|leave| model.end(&leave.entry));
            seen
        };
        self.change(&begun, work, list, now);
    }

    fn reset(&mut self, entries: &[EntryBuf], list: &MemberList<u64>, now: u64) {
        let begun: Vec<_> = entries.iter().collect();
        let work = |model: &mut Self| {
            let is_current = |session: &Session| entries.iter().any(|entry| session.is(entry));
            model.sessions.retain(is_current);
            entries.iter().for_each(|entry| model.begin(entry));
            BTreeSet::new()
        };
        self.change(&begun, work, list, now);
    }
}

/// The sessions as they are, and what the next Diff has to report of them.
#[derive(Default)]
struct Truth {
    live: BTreeMap<(u64, u8), EntryBuf>,
    reported: BTreeMap<(u64, u8), EntryBuf>,
    /// Versions since the last Diff.
    made: BTreeMap<(u64, u8), Vec<EntryBuf>>,
    op: u64,
}

impl Truth {
    fn write(&mut self, user: u64, session: u8, status: u8, meta: [u8; 4]) {
        self.op += 1;
        let key = user.to_string();
        let origin = Origin {
            replica: ReplicaId::new(["b", "a", "c"][usize::from(session) % 3], 1, 0)
                .expect("a good name"),
            partition: 0,
        };
        let birth = self
            .live
            .get(&(user, session))
            .map_or(self.op, EntryBuf::birth);
        let entry = NewEntry::new("room", &key, "").status(status).meta(&meta);
        let entry = EntryBuf::new(&entry, Dot { origin, birth }, self.op);
        self.live.insert((user, session), entry.clone());
        self.made.entry((user, session)).or_default().push(entry);
    }

    /// Returns the changes since the last Diff, as `Diff` describes them.
    fn diff(&mut self) -> TopicDiff {
        let mut diff = TopicDiff {
            topic: "room".into(),
            joins: Vec::new(),
            leaves: Vec::new(),
            updates: Vec::new(),
        };
        let mut sessions: BTreeSet<_> = self.reported.keys().copied().collect();
        sessions.extend(self.made.keys());
        for session in sessions {
            let mut made = self.made.remove(&session).unwrap_or_default();
            let old = self.reported.get(&session).cloned();
            let new = self.live.get(&session).cloned();
            match (old, new) {
                (Some(old), Some(new)) if old != new => diff.updates.push(Update { old, new }),
                (None, Some(new)) => diff.joins.push(new),
                (Some(old), None) => diff.leaves.push(left(old)),
                (None, None) => diff.joins.extend(made.last().cloned()),
                _ => {}
            }
            if self.live.contains_key(&session) {
                made.pop();
            }
            diff.leaves.extend(made.into_iter().map(left));
        }
        self.reported = self.live.clone();
        diff
    }
}

fn left(entry: EntryBuf) -> Leave {
    let reason = LeaveReason::Unknown;
    Leave { entry, reason }
}

struct World {
    truth: Truth,
    roster: Roster<u64>,
    model: Model,
    now: u64,
}

impl World {
    fn new(keeps_offline: bool, priority: Option<Vec<Status>>) -> Self {
        let mut list = MemberList::new(ListOptions::default().payloads(true));
        list.set_groups(&GROUPS).expect("three groups");
        let mut options = RosterOptions::default().status_bits(STATUS_BITS);
        if keeps_offline {
            options = options.offline(OfflinePolicy::Keep(GONE));
        }
        if let Some(priority) = priority.clone() {
            options = options.priority(priority);
        }
        let usual = [Status::Invisible, Status::Dnd, Status::Online, Status::Idle];
        Self {
            truth: Truth::default(),
            roster: Roster::new(list, options, mapping),
            model: Model {
                priority: priority.unwrap_or(usual.to_vec()),
                keeps_offline,
                sessions: Vec::new(),
                rows: BTreeMap::new(),
                last_seen: BTreeMap::new(),
                changes: Vec::new(),
                refused: Vec::new(),
            },
            now: 0,
        }
    }

    fn step(&mut self, op: [u8; 8]) -> Result<(), TestCaseError> {
        let [kind, user, session, status, meta @ ..] = op;
        let user = u64::from(user) % USERS;
        let session = session % 6;
        self.now += 1;
        match kind % 16 {
            0..8 => {
                self.truth.write(user, session, status % 4, meta);
                return Ok(());
            }
            8..10 => {
                self.truth.live.remove(&(user, session));
                return Ok(());
            }
            10 => drop(self.truth.diff()),
            11 => {
                let entries: Vec<_> = self.truth.live.values().cloned().collect();
                self.truth.diff();
                let report = self.roster.reset(&entries, self.now);
                self.model.reset(&entries, self.roster.list(), self.now);
                self.check_report(&report)?;
            }
            12 => self.application_writes(user, status, meta),
            _ => {
                let diff = self.truth.diff();
                let report = self.roster.apply(&diff, self.now);
                self.model.apply(&diff, self.roster.list(), self.now);
                self.check_report(&report)?;
            }
        }
        self.check()
    }

    /// Does as an application does that has rows of its own, and plans with those of others.
    fn application_writes(&mut self, user: u64, what: u8, meta: [u8; 4]) {
        let group = GroupId(u32::from(meta[0]) % 3);
        let number = u64::from(meta[1]) % 8;
        let key = SortKey::from_u64(number);
        let attrs = u32::from(meta[2]) % 16;
        let payload = Bytes::copy_from_slice(&meta[3..]);
        let list = self.roster.list_mut();
        match what % 6 {
            0 => drop(list.set_group(&user, group)),
            1 => drop(list.set_key(&user, &key)),
            2 => drop(list.set_attrs(&user, attrs)),
            3 => drop(list.set_payload(&user, payload)),
            4 => drop(list.upsert(user, group, &key, attrs)),
            _ => drop(list.remove(&user)),
        }
        let row = self.row(user);
        match row {
            Some(row) => self.model.rows.insert(user, row),
            None => self.model.rows.remove(&user),
        };
        self.model.adopt_row(user);
    }

    /// Returns the row of a user in the list of the roster.
    fn row(&self, user: u64) -> Option<RowModel> {
        let row = self.roster.list().get(&user)?;
        Some(RowModel {
            group: row.group,
            key: u64::from_be_bytes(row.key.try_into().expect("keys are numbers")),
            attrs: row.attrs,
            payload: Bytes::copy_from_slice(row.payload),
            revision: row.revision,
        })
    }

    fn check_report(&mut self, report: &RosterReport<u64>) -> Result<(), TestCaseError> {
        let changes = report.changes.iter();
        let changes: Vec<_> = changes.map(|c| (c.id, c.old, c.new)).collect();
        prop_assert_eq!(changes, std::mem::take(&mut self.model.changes));
        let mut refused: Vec<u64> = report.refused.iter().map(|(id, _)| *id).collect();
        refused.sort_unstable();
        self.model.refused.sort_unstable();
        prop_assert_eq!(refused, std::mem::take(&mut self.model.refused));
        prop_assert_eq!(report.foreign, 0);
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let list = self.roster.list();
        prop_assert_eq!(list.member_count(), self.model.rows.len());
        let mut online = 0;
        for user in 0..USERS {
            let row = self.row(user);
            prop_assert_eq!(
                row.as_ref(),
                self.model.rows.get(&user),
                "the row of {}",
                user
            );
            prop_assert_eq!(self.roster.own_status(&user), self.model.status(user));
            let last_seen = self.model.last_seen.get(&user).copied();
            prop_assert_eq!(self.roster.last_seen(&user), last_seen);
            online += usize::from(self.roster.is_visible(&user));
        }
        prop_assert_eq!(self.roster.online_count(), online);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_roster_is_as_a_naive_one(
        ops in prop::collection::vec(any::<[u8; 8]>(), 1..150),
        keeps_offline: bool,
        priority in prop::option::of(Just(vec![Status::Idle, Status::Invisible])),
    ) {
        let mut world = World::new(keeps_offline, priority);
        for op in ops {
            world.step(op)?;
        }
    }
}
