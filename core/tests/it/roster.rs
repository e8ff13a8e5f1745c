//! From sessions to rows: merging, invisibility, offline members, last-seen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headcount::member_list::{Id, NewMember, TextId};
use headcount::roster::OfflinePolicy;
use headcount::{
    Diff, GroupId, ListOptions, MemberList, NewEntry, Placement, ReplicaId, Roster, RosterOptions,
    SortKey, Status, Tracker,
};
use proptest::prelude::*;

const ROOM: &str = "room";
const USERS: [&str; 4] = ["ann", "bob", "cy", "dee"];

struct World {
    tracker: Tracker,
    roster: Roster<TextId>,
    groups: Vec<GroupId>,
    now: u64,
}

impl World {
    fn new(options: impl FnOnce(&[GroupId]) -> RosterOptions) -> Self {
        let mut list = MemberList::<TextId>::new(ListOptions::default());
        let groups = list
            .set_groups(&["online", "idle", "offline"])
            .expect("three groups");
        let online = groups[0];
        let idle = groups[1];
        let roster = Roster::new(list, options(&groups), move |entry| {
            let status = Status::of_session(entry.status());
            let group = if status == Status::Idle { idle } else { online };
            let key = SortKey::from_name(entry.key_str().expect("text keys"));
            Placement::new(status).group(group).key(key)
        });
        let replica = ReplicaId::new("a", 1, 0).expect("a good name");
        Self {
            tracker: Tracker::new(replica),
            roster,
            groups,
            now: 100,
        }
    }

    fn removing() -> Self {
        Self::new(|_| RosterOptions::default())
    }

    fn keeping() -> Self {
        Self::new(|groups| RosterOptions::default().offline(OfflinePolicy::Keep(groups[2])))
    }

    fn here(&mut self, user: &str, session: &str, status: Status) -> Vec<(Status, Status)> {
        self.tracker
            .upsert(&NewEntry::new(ROOM, user, session).status(status as u8))
            .expect("tracked");
        self.flush()
    }

    fn gone(&mut self, user: &str, session: &str) -> Vec<(Status, Status)> {
        self.tracker.untrack(ROOM, user, session);
        self.flush()
    }

    fn flush(&mut self) -> Vec<(Status, Status)> {
        let diff: Diff = self.tracker.take_diff();
        let mut changes = Vec::new();
        for topic in &diff {
            let applied = self.roster.apply(topic, self.now);
            assert_eq!((applied.refused.len(), applied.foreign), (0, 0));
            changes.extend(
                applied
                    .changes
                    .iter()
                    .map(|change| (change.old, change.new)),
            );
        }
        changes
    }

    fn group_of(&self, user: &str) -> Option<String> {
        let group = self.roster.list().get(&id(user))?.group;
        self.roster
            .list()
            .groups()
            .find(|info| info.id == group)
            .map(|info| info.name.to_owned())
    }
}

fn id(user: &str) -> TextId {
    user.parse().expect("a good id")
}

#[test]
fn many_sessions_of_one_user_are_one_row() {
    let mut world = World::removing();
    assert_eq!(
        world.here("ann", "phone", Status::Idle),
        [(Status::Offline, Status::Idle)]
    );
    assert_eq!(world.group_of("ann").as_deref(), Some("idle"));
    assert_eq!(
        world.here("ann", "laptop", Status::Online),
        [(Status::Idle, Status::Online)]
    );
    assert_eq!(world.group_of("ann").as_deref(), Some("online"));
    assert_eq!(world.roster.list().member_count(), 1);
    assert_eq!(world.gone("ann", "phone"), []);
    assert_eq!(
        world.here("ann", "phone", Status::Dnd),
        [(Status::Online, Status::Dnd)]
    );
    assert_eq!(world.gone("ann", "phone"), [(Status::Dnd, Status::Online)]);
    assert_eq!(
        world.gone("ann", "laptop"),
        [(Status::Online, Status::Offline)]
    );
    assert_eq!(world.roster.list().len(), 0);
    assert_eq!(world.roster.last_seen(&id("ann")), Some(100));
}

#[test]
fn invisible_on_one_session_is_offline_to_all_others() {
    let mut world = World::removing();
    world.here("eve", "phone", Status::Online);
    world.now = 200;
    assert_eq!(
        world.here("eve", "laptop", Status::Invisible),
        [(Status::Online, Status::Offline)]
    );
    assert_eq!(world.roster.online_count(), 0);
    assert_eq!(world.roster.list().member_count(), 0);
    assert_eq!(world.roster.own_status(&id("eve")), Status::Invisible);
    assert!(!world.roster.is_visible(&id("eve")));
    // Last seen is the time at which the user became invisible, not the time of the real leave.
    world.now = 300;
    assert_eq!(world.here("eve", "phone", Status::Dnd), []);
    assert_eq!(world.gone("eve", "phone"), []);
    assert_eq!(world.gone("eve", "laptop"), []);
    assert_eq!(world.roster.last_seen(&id("eve")), Some(200));
}

#[test]
fn an_invisible_user_whose_sessions_end_all_at_once_is_not_seen_leaving() {
    let mut world = World::removing();
    world.here("eve", "phone", Status::Online);
    world.now = 200;
    world.here("eve", "laptop", Status::Invisible);
    world.now = 300;
    world.tracker.untrack(ROOM, "eve", "laptop");
    world.tracker.untrack(ROOM, "eve", "phone");
    assert_eq!(world.flush(), []);
    assert_eq!(world.roster.last_seen(&id("eve")), Some(200));
    // A visit within one Diff counts.
    world
        .tracker
        .track(&NewEntry::new(ROOM, "eve", "phone"))
        .expect("tracked");
    world.tracker.untrack(ROOM, "eve", "phone");
    assert_eq!(world.flush(), []);
    assert_eq!(world.roster.last_seen(&id("eve")), Some(300));
}

#[test]
fn sessions_of_the_invisible_raise_no_revision() {
    let mut world = World::keeping();
    world.here("eve", "phone", Status::Online);
    world.here("eve", "laptop", Status::Invisible);
    let row = |world: &World| {
        let row = world.roster.list().get(&id("eve")).expect("a row");
        (row.group, row.revision)
    };
    let hidden = row(&world);
    for status in [Status::Idle, Status::Dnd, Status::Online, Status::Invisible] {
        assert_eq!(world.here("eve", "phone", status), []);
        assert_eq!(world.here("eve", "tablet", status), []);
        assert_eq!(row(&world), hidden);
    }
    assert_eq!(world.gone("eve", "tablet"), []);
    assert_eq!(row(&world), hidden);
}

#[test]
fn offline_members_are_a_group_like_any_other() {
    let mut world = World::keeping();
    let offline = world.groups[2];
    let members = ["ann", "bob"].map(|name| NewMember {
        id: id(name),
        group: offline,
        key: SortKey::from_name(name),
        attrs: 0,
    });
    world.roster.load_offline(members).expect("loaded");
    assert_eq!(world.roster.list().len(), 3);
    world.here("ann", "phone", Status::Online);
    assert_eq!(world.group_of("ann").as_deref(), Some("online"));
    world.gone("ann", "phone");
    assert_eq!(world.group_of("ann").as_deref(), Some("offline"));
    assert_eq!(world.roster.list().member_count(), 2);
    // Joining invisible shows nothing at all, not even a new offline row.
    assert_eq!(world.here("zed", "phone", Status::Invisible), []);
    assert_eq!(world.group_of("zed"), None);
}

#[test]
fn the_content_of_a_row_gets_a_new_revision() {
    let mut world = World::removing();
    world.here("ann", "phone", Status::Online);
    let revision = |world: &World| {
        world
            .roster
            .list()
            .get(&id("ann"))
            .expect("listed")
            .revision
    };
    let first = revision(&world);
    assert_eq!(
        world.here("ann", "phone", Status::Dnd),
        [(Status::Online, Status::Dnd)]
    );
    assert!(revision(&world) > first);
}

#[test]
fn last_seen_is_bounded_and_the_newest_stay() {
    let mut world = World::new(|_| RosterOptions::default().last_seen_max(2));
    for (user, time) in [("ann", 1), ("bob", 2), ("cid", 3)] {
        world.roster.note_last_seen(id(user), time);
    }
    world.roster.note_last_seen(id("cid"), 2);
    assert_eq!(world.roster.last_seen(&id("ann")), None);
    assert_eq!(world.roster.last_seen(&id("bob")), Some(2));
    assert_eq!(world.roster.last_seen(&id("cid")), Some(3));
}

/// A Diff whose mapping panics at its last entry changes nothing, and can be applied again.
#[test]
fn a_mapping_that_panics_leaves_the_roster_as_it_was() {
    let mut list = MemberList::<TextId>::new(ListOptions::default());
    let group = list.add_group("online").expect("a good name");
    let panics = Arc::new(AtomicBool::new(false));
    let broken = panics.clone();
    let mut roster = Roster::new(list, RosterOptions::default(), move |entry| {
        let key = entry.key_str().expect("text keys");
        let fails = key == "zoe" && broken.load(Ordering::Relaxed);
        assert!(!fails, "the application's own fault");
        Placement::new(Status::Online)
            .group(group)
            .key(SortKey::from_name(key))
    });
    let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0).expect("a good name"));
    for user in ["ann", "bob", "zoe"] {
        tracker
            .upsert(&NewEntry::new(ROOM, user, "s"))
            .expect("tracked");
    }
    let first = tracker.take_diff();
    let _ = roster.apply(first.topic(ROOM).expect("joins"), 1);
    tracker.untrack(ROOM, "bob", "s");
    let idle = NewEntry::new(ROOM, "zoe", "s").status(Status::Idle as u8);
    tracker.upsert(&idle).expect("tracked");
    tracker
        .upsert(&NewEntry::new(ROOM, "cy", "s"))
        .expect("tracked");
    let second = tracker.take_diff();
    let second = second.topic(ROOM).expect("changes");

    panics.store(true, Ordering::Relaxed);
    let failed = catch_unwind(AssertUnwindSafe(|| roster.apply(second, 2)));
    assert!(failed.is_err());
    assert_eq!(
        (roster.online_count(), roster.list().member_count()),
        (3, 3)
    );
    assert_eq!(roster.status(&id("bob")), Status::Online);

    panics.store(false, Ordering::Relaxed);
    let applied = roster.apply(second, 3);
    let mut changed: Vec<_> = applied
        .changes
        .iter()
        .map(|change| change.id.to_text())
        .collect();
    changed.sort();
    assert_eq!(changed, ["bob", "cy", "zoe"]);
    assert_eq!(
        (roster.online_count(), roster.list().member_count()),
        (3, 3)
    );
}

#[test]
fn a_key_that_is_no_id_and_an_unknown_group_are_reported() {
    let list = MemberList::<u64>::new(ListOptions::default());
    let mut roster = Roster::new(list, RosterOptions::default(), |_| {
        Placement::new(Status::Online)
            .group(GroupId(7))
            .key(SortKey::from_u64(1))
    });
    let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0).expect("a good name"));
    tracker
        .track(&NewEntry::new(ROOM, "no number", "s"))
        .expect("tracked");
    tracker
        .track(&NewEntry::new(ROOM, "5", "s"))
        .expect("tracked");
    let applied = roster.apply(tracker.take_diff().topic(ROOM).expect("changed"), 1);
    assert_eq!(applied.foreign, 1);
    assert_eq!(applied.refused.len(), 1);
    assert_eq!(roster.online_count(), 1);
    assert_eq!(roster.list().len(), 0);
}

#[test]
fn a_session_without_a_placement_does_not_count() {
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let group = list.add_group("online").expect("a good name");
    let mut roster = Roster::new(list, RosterOptions::default(), move |entry| {
        let placement = Placement::new(Status::Online).group(group);
        (entry.meta() != b"bad").then(|| placement.key(SortKey::from_u64(1)))
    });
    let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0).expect("a good name"));
    for (user, meta) in [("5", "bad"), ("6", "good"), ("7", "good")] {
        let entry = NewEntry::new(ROOM, user, "s").meta(meta.as_bytes());
        tracker.track(&entry).expect("tracked");
    }
    let applied = roster.apply(tracker.take_diff().topic(ROOM).expect("changed"), 1);
    assert_eq!((applied.changes.len(), applied.refused.len()), (2, 0));
    let worse = NewEntry::new(ROOM, "6", "s").meta(b"bad");
    tracker.update(&worse).expect("tracked");
    let applied = roster.apply(tracker.take_diff().topic(ROOM).expect("changed"), 2);
    assert_eq!(applied.changes.len(), 1);
    assert_eq!(
        (roster.status(&6), roster.last_seen(&6)),
        (Status::Offline, Some(2))
    );
    assert_eq!(
        (roster.online_count(), roster.list().member_count()),
        (1, 1)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A roster that missed Diffs and is reset shows what a roster shows that missed none.
    #[test]
    fn a_reset_makes_up_for_missed_diffs(
        steps in prop::collection::vec((0..4_usize, 0..3_usize, 0..5_u8, any::<bool>(), 0..4_u8), 1..120),
    ) {
        let mut whole = World::keeping();
        let mut lossy = World::keeping();
        for (user, session, status, is_here, fate) in steps {
            let user = USERS[user];
            let session = ["x", "y", "z"][session];
            if is_here {
                let entry = NewEntry::new(ROOM, user, session).status(status);
                whole.tracker.upsert(&entry).expect("tracked");
            } else {
                whole.tracker.untrack(ROOM, user, session);
            }
            let diff = whole.tracker.take_diff();
            if let Some(topic) = diff.topic(ROOM) {
                let _ = whole.roster.apply(topic, 5);
                if fate == 0 {
                    let _ = lossy.roster.apply(topic, 5);
                }
            }
            if fate != 1 {
                continue;
            }
            let entries: Vec<_> = whole.tracker.list(ROOM).map(|entry| entry.to_buf()).collect();
            let before: Vec<_> = USERS.map(|id| lossy.roster.status(&id.parse().expect("an id"))).into();
            let report = lossy.roster.reset(&entries, 5);
            for (user, before) in USERS.iter().zip(before) {
                let id: TextId = user.parse().expect("an id");
                let now = lossy.roster.status(&id);
                prop_assert_eq!(now, whole.roster.status(&id));
                prop_assert_eq!(lossy.roster.own_status(&id), whole.roster.own_status(&id));
                let change = report.changes.iter().find(|change| change.id == id);
                match change {
                    Some(change) => prop_assert_eq!((change.old, change.new), (before, now)),
                    None => prop_assert_eq!(before, now),
                }
            }
            prop_assert_eq!(lossy.roster.online_count(), whole.roster.online_count());
            let shown = |roster: &Roster<TextId>| format!("{:?}", roster.list().groups().collect::<Vec<_>>());
            let online = |roster: &Roster<TextId>| roster.list().groups().take(2).map(|g| g.count).collect::<Vec<_>>();
            prop_assert_eq!(online(&lossy.roster), online(&whole.roster), "{}", shown(&lossy.roster));
            prop_assert!(lossy.roster.reset(&entries, 6).changes.is_empty());
        }
    }

    /// The list equals a naive merge of the live sessions, for all joins, leaves and updates in all
    /// batches.
    #[test]
    fn the_list_is_the_merge_of_the_sessions(
        steps in prop::collection::vec((0..4_usize, 0..3_usize, 0..5_u8, any::<bool>()), 1..200),
    ) {
        let mut world = World::removing();
        let mut model = std::collections::BTreeMap::new();
        for (user, session, status, flush) in steps {
            let user = format!("u{user}");
            let session = format!("s{session}");
            if status == 4 {
                world.tracker.untrack(ROOM, user.as_str(), &session);
                model.remove(&(user, session));
            } else {
                let entry = NewEntry::new(ROOM, &user, &session).status(status);
                world.tracker.upsert(&entry).expect("tracked");
                model.insert((user, session), Status::of_session(status));
            }
            if flush {
                world.flush();
                let mut visible = 0;
                for user in (0..4).map(|user| format!("u{user}")) {
                    let mine = || model.iter().filter(|((name, _), _)| *name == user).map(|(_, status)| *status);
                    let order = [Status::Invisible, Status::Dnd, Status::Online, Status::Idle];
                    let merged = order.into_iter().find(|status| mine().any(|mine| mine == *status));
                    let outward = merged.map_or(Status::Offline, Status::outward);
                    prop_assert_eq!(world.roster.status(&id(&user)), outward);
                    prop_assert_eq!(world.roster.list().contains(&id(&user)), outward != Status::Offline);
                    visible += usize::from(outward != Status::Offline);
                }
                prop_assert_eq!(world.roster.online_count(), visible);
            }
        }
    }
}
