//! A roster over a table: its lists and their viewers, what it refuses, and its memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use headcount::member_list::client::Client;
use headcount::member_list::{
    Attrs, Clause, FrameRow, ListId, ListSpec, MemberTable, NewTableMember, TableError,
    TableOptions, TextId,
};
use headcount::roster::{IntoPlacement, OfflinePolicy, RosterError, RosterReport};
use headcount::{
    Bodies, EntryBuf, GroupId, ListError, NewEntry, Placement, ReplicaId, Roster, RosterOptions,
    SortKey, Status, Tracker, Viewer, WindowSpec,
};

const ROOM: &str = "room";
/// The status bits of the roster; only the first is shown.
const ONLINE: u32 = 1;
const IDLE: u32 = 2;

type TableRoster<I> = Roster<I, MemberTable<I>>;

/// A world of one room, with a list of everyone and one of those online.
struct World {
    tracker: Tracker,
    roster: TableRoster<TextId>,
    everyone: ListId,
    here: ListId,
}

fn id(user: &str) -> TextId {
    user.parse().expect("a good id")
}

fn options() -> RosterOptions {
    let options = RosterOptions::default().status_bits(ONLINE | IDLE);
    options.offline(OfflinePolicy::Stay)
}

/// The name of a user, and the length of it as the second key.
fn keys_of(user: &str) -> [SortKey; 2] {
    [
        SortKey::from_name(user),
        SortKey::from_u64(user.len() as u64),
    ]
}

fn usual(entry: &EntryBuf) -> Placement {
    let status = Status::of_session(entry.status());
    let idle = if status == Status::Idle { IDLE } else { 0 };
    let keys = keys_of(entry.key_str().expect("text keys"));
    Placement::new(status).keys(keys).bits(ONLINE | idle)
}

impl World {
    fn new<P: IntoPlacement>(
        options: RosterOptions,
        mapping: impl Fn(&EntryBuf) -> P + Send + Sync + 'static,
    ) -> Self {
        let table = TableOptions::default().key_columns(2).shown(ONLINE);
        let mut table = MemberTable::new(table).expect("good options");
        let online = Clause::new().all(Attrs::from_low(ONLINE));
        let everyone = ListSpec::new("everyone", "offline").group(online, "online");
        let here = ListSpec::new("here", "online").admit([online]).sort_by(1);
        let [everyone, here] =
            [everyone, here].map(|spec| table.add_list(spec).expect("a good spec"));
        let roster = Roster::over_table(table, options, mapping);
        Self {
            tracker: Tracker::new(ReplicaId::new("a", 1, 0).expect("a good name")),
            roster: roster.expect("a policy without a group"),
            everyone,
            here,
        }
    }

    fn put(&mut self, user: &str, session: &str, status: Status, meta: &str) {
        let entry = NewEntry::new(ROOM, user, session).meta(meta.as_bytes());
        let entry = entry.status(status as u8);
        self.tracker.upsert(&entry).expect("tracked");
    }

    fn flush(&mut self, now: u64) -> RosterReport<TextId> {
        let diff = self.tracker.take_diff();
        self.roster.apply(diff.topic(ROOM).expect("changes"), now)
    }

    fn here(&mut self, user: &str, session: &str, status: Status) -> RosterReport<TextId> {
        self.put(user, session, status, "");
        self.flush(1)
    }

    fn members(&self, list: ListId) -> usize {
        self.roster
            .table()
            .list(list)
            .expect("built")
            .member_count()
    }

    /// Returns the attributes and the revision of a member.
    fn row(&self, user: &str) -> Option<(Attrs, u32)> {
        let row = self.roster.table().get(&id(user))?;
        Some((row.attrs, row.revision))
    }
}

/// A viewer of a list, and its client.
struct Watcher {
    viewer: Viewer<TextId>,
    client: Client<TextId>,
}

impl Watcher {
    fn new(world: &mut World, list: ListId) -> Self {
        let mut viewer = Viewer::new();
        let mut client = Client::new(|_, patch| patch.to_vec());
        let mut live = world.roster.table_mut().live(list).expect("built");
        let opened = viewer.open(&mut live, WindowSpec::Chunk(0), Bodies::None);
        let _ = client.open("c:0");
        let _ = client.apply(&opened.expect("a chunk"));
        Self { viewer, client }
    }

    /// Returns the rows of the window: headers as "online 2", members by id.
    fn rows(&self) -> Vec<String> {
        let row = |row: &FrameRow<TextId>| match row {
            FrameRow::Header { group, count } => format!("{group} {count}"),
            FrameRow::Member { id, .. } => id.to_string(),
        };
        let window = self.client.window("c:0").expect("open");
        window.rows().iter().map(row).collect()
    }
}

/// Publishes the changes. Returns which of the watchers heard of them.
fn tick(world: &mut World, watchers: &mut [Watcher; 2], second: u64) -> [bool; 2] {
    let now = Duration::from_secs(second);
    let tick = world.roster.table_mut().tick(now, Bodies::None);
    watchers.each_mut().map(|watcher| {
        let bundle = tick.bundle(&mut watcher.viewer);
        bundle.as_ref().map(|bundle| watcher.client.apply(bundle));
        bundle.is_some_and(|bundle| !bundle.frames.is_empty())
    })
}

#[test]
fn viewers_of_two_lists_see_the_rows_of_a_roster_move() {
    let mut world = World::new(options(), usual);
    let members = ["ann", "bartholomäus", "王小明", "zoe"].map(|user| NewTableMember {
        id: id(user),
        keys: keys_of(user).to_vec(),
        attrs: Attrs::EMPTY,
        payload: None,
    });
    let known = members[0].clone();
    let loaded = world.roster.load_offline(members).expect("good members");
    assert_eq!((loaded.loaded, loaded.duplicates.len()), (4, 0));
    let again = world.roster.load_offline([known]).expect("a good member");
    assert_eq!(again.duplicates, [(0, id("ann"))]);
    let lists = [world.everyone, world.here];
    let mut watchers = lists.map(|list| Watcher::new(&mut world, list));
    assert_eq!(watchers[0].rows()[0], "offline 4");

    let _ = world.here("zoe", "phone", Status::Online);
    let _ = world.here("bartholomäus", "phone", Status::Idle);
    assert_eq!(tick(&mut world, &mut watchers, 1), [true; 2]);
    let all = [
        "online 2",
        "bartholomäus",
        "zoe",
        "offline 2",
        "ann",
        "王小明",
    ];
    assert_eq!(watchers[0].rows(), all);
    assert_eq!(watchers[1].rows(), ["online 2", "zoe", "bartholomäus"]);

    // Others see neither that an invisible user comes nor what they do.
    let _ = world.here("ann", "phone", Status::Invisible);
    let _ = world.here("ann", "laptop", Status::Online);
    assert_eq!(tick(&mut world, &mut watchers, 2), [false; 2]);
    assert_eq!(world.roster.own_status(&id("ann")), Status::Invisible);

    let _ = world.here("zoe", "phone", Status::Invisible);
    world.tracker.untrack(ROOM, "bartholomäus", "phone");
    let _ = world.flush(9);
    assert_eq!(tick(&mut world, &mut watchers, 3), [true; 2]);
    assert_eq!(watchers[0].rows()[0], "offline 4");
    assert!(watchers[1].rows().is_empty());
    assert_eq!(world.roster.last_seen(&id("bartholomäus")), Some(9));
    assert_eq!(world.roster.online_count(), 0);
    assert_eq!(world.roster.into_table().len(), 4);
}

#[test]
fn a_placement_that_no_row_of_a_table_can_have_refuses_its_session_and_no_other() {
    let mut world = World::new(options(), |entry: &EntryBuf| match entry.meta() {
        b"group" => usual(entry).group(GroupId(3)),
        b"one key" => usual(entry).key(SortKey::from_u64(1)),
        b"no keys" => usual(entry).keys([]),
        b"three keys" => usual(entry).keys([SortKey::from_u64(1); 3]),
        b"bits" => usual(entry).bits(ONLINE | 8),
        b"payload" => usual(entry).payload("p"),
        _ => usual(entry),
    });
    let wrong = |got| RosterError::WrongKeys { got, columns: 2 };
    let group = GroupId(3);
    let status_bits = ONLINE | IDLE;
    let bits = ONLINE | 8;
    let refused = [
        ("group", RosterError::NoGroups { group }, false),
        ("one key", wrong(1), false),
        ("no keys", wrong(0), false),
        ("three keys", wrong(3), false),
        (
            "bits",
            RosterError::BitsNotOwned { bits, status_bits },
            false,
        ),
        ("payload", ListError::NoPayloads.into(), true),
    ];
    for (meta, error, counts) in refused {
        world.put("ann", "s", Status::Online, meta);
        world.put("bob", meta, Status::Online, "");
        let report = world.flush(1);
        assert!(!error.to_string().is_empty());
        assert_eq!(report.refused, [(id("ann"), error)], "{meta}");
        assert_eq!(world.roster.is_visible(&id("ann")), counts, "{meta}");
        assert_eq!(world.row("ann"), None);
        assert_eq!(world.members(world.here), 1);
    }
}

#[test]
fn a_list_has_one_key_and_a_table_no_group_to_keep_members_in() {
    let table = MemberTable::<u64>::new(TableOptions::default()).expect("good options");
    let group = GroupId(0);
    let keeps = RosterOptions::default().offline(OfflinePolicy::Keep(group));
    let refused = Roster::over_table(table, keeps, |_| Placement::new(Status::Online));
    assert_eq!(refused.err(), Some(RosterError::NoGroups { group }));

    let mut list = headcount::MemberList::<u64>::new(headcount::ListOptions::default());
    let group = list.add_group("here").expect("a good name");
    let mut roster = Roster::new(list, RosterOptions::default(), move |_| {
        let placement = Placement::new(Status::Online).group(group);
        placement.keys([SortKey::from_u64(1); 2])
    });
    let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0).expect("a good name"));
    let entry = NewEntry::new(ROOM, "5", "s");
    tracker.track(&entry).expect("tracked");
    let report = roster.apply(tracker.take_diff().topic(ROOM).expect("a join"), 1);
    let wrong = RosterError::WrongKeys { got: 2, columns: 1 };
    assert_eq!(report.refused, [(5, wrong)]);
    assert_eq!((roster.online_count(), roster.list().len()), (0, 0));
}

#[test]
fn the_roster_writes_its_own_bits_of_a_table_and_no_others() {
    let mut world = World::new(options(), usual);
    let _ = world.here("ann", "s", Status::Online);
    let own = Attrs::of([2, 31, 32, 511]).expect("bits");
    let with = |bits| own.with(&Attrs::EMPTY, &Attrs::from_low(bits));
    let table = world.roster.table_mut();
    table
        .set_attrs(&id("ann"), &Attrs::EMPTY, &own, None)
        .expect("known");
    let (_, first) = world.row("ann").expect("a row");
    for (round, status) in [Status::Idle, Status::Dnd, Status::Idle].iter().enumerate() {
        let _ = world.here("ann", "s", *status);
        let idle = if *status == Status::Idle { IDLE } else { 0 };
        let row = (with(ONLINE | idle), first + 1 + round as u32);
        assert_eq!(world.row("ann"), Some(row));
    }
    world.tracker.untrack(ROOM, "ann", "s");
    let _ = world.flush(2);
    assert_eq!(world.row("ann"), Some((own, first + 4)));
    assert_eq!(
        (world.members(world.everyone), world.members(world.here)),
        (1, 0)
    );
}

#[test]
fn a_row_without_keys_is_made_by_the_application() {
    let mut world = World::new(RosterOptions::default().status_bits(ONLINE), |_| {
        Placement::new(Status::Online).bits(ONLINE)
    });
    let report = world.here("ann", "s", Status::Online);
    assert_eq!(report.refused, [(id("ann"), RosterError::NoPlace)]);
    assert_eq!((world.roster.online_count(), world.row("ann")), (1, None));
    let table = world.roster.table_mut();
    table
        .upsert(id("ann"), &keys_of("Änn"), Attrs::EMPTY, None)
        .expect("room");
    let _ = world.here("ann", "t", Status::Online);
    assert_eq!(world.members(world.here), 1);
    let member = world.roster.table().get(&id("ann")).expect("a row");
    assert_eq!(member.keys[0], keys_of("Änn")[0].as_bytes());
    // Without another policy the row leaves with the last session.
    world.tracker.untrack_owner("s");
    world.tracker.untrack_owner("t");
    let _ = world.flush(3);
    assert_eq!((world.row("ann"), world.roster.table().len()), (None, 0));
}

#[test]
fn a_mapping_that_panics_leaves_a_table_as_it_was() {
    let panics = Arc::new(AtomicBool::new(false));
    let broken = panics.clone();
    let mut world = World::new(options(), move |entry: &EntryBuf| {
        let fails = entry.key_str() == Some("zoe") && broken.load(Ordering::Relaxed);
        assert!(!fails, "the application's own fault");
        usual(entry)
    });
    for user in ["ann", "bob", "zoe"] {
        let _ = world.here(user, "s", Status::Online);
    }
    world.tracker.untrack(ROOM, "bob", "s");
    world.put("zoe", "s", Status::Idle, "");
    world.put("cy", "s", Status::Online, "");
    let diff = world.tracker.take_diff();
    let diff = diff.topic(ROOM).expect("changes");
    let before = ["ann", "bob", "cy", "zoe"].map(|user| world.row(user));

    panics.store(true, Ordering::Relaxed);
    let failed = catch_unwind(AssertUnwindSafe(|| world.roster.apply(diff, 2)));
    assert!(failed.is_err());
    assert_eq!(
        ["ann", "bob", "cy", "zoe"].map(|user| world.row(user)),
        before
    );
    assert_eq!(
        (world.roster.online_count(), world.members(world.here)),
        (3, 3)
    );

    panics.store(false, Ordering::Relaxed);
    let report = world.roster.apply(diff, 3);
    let changed: Vec<_> = report
        .changes
        .iter()
        .map(|change| change.id.to_string())
        .collect();
    assert_eq!(changed, ["bob", "cy", "zoe"]);
    assert_eq!(
        (world.members(world.everyone), world.members(world.here)),
        (4, 3)
    );
}

#[test]
fn a_reset_puts_the_sessions_that_are_there_in_the_lists() {
    let mut world = World::new(options(), usual);
    let _ = world.here("ann", "s", Status::Online);
    let _ = world.here("bob", "s", Status::Online);
    world.tracker.untrack(ROOM, "ann", "s");
    world.put("cy", "s", Status::Idle, "");
    let _ = world.tracker.take_diff();
    let entries: Vec<_> = world
        .tracker
        .list(ROOM)
        .map(|entry| entry.to_buf())
        .collect();
    let report = world.roster.reset(&entries, 5);
    let changed: Vec<_> = report
        .changes
        .iter()
        .map(|change| (change.old, change.new))
        .collect();
    let expected = [
        (Status::Online, Status::Offline),
        (Status::Offline, Status::Idle),
    ];
    assert_eq!(changed, expected);
    assert_eq!(
        (world.members(world.everyone), world.members(world.here)),
        (3, 2)
    );
    assert_eq!(world.roster.reset(&entries, 6), RosterReport::default());
}

/// As many users as just made each part of the hash table grow, and last-seen times of a tenth.
#[test]
fn a_user_over_a_table_with_one_session_takes_less_than_100_bytes() {
    const USERS: u64 = 118_000;
    let mut table = MemberTable::<u64>::new(TableOptions::default()).expect("good options");
    let online = Clause::new().all(Attrs::from_low(ONLINE));
    let here = ListSpec::new("here", "online").admit([online]);
    let here = table.add_list(here).expect("a good spec");
    let mut roster = Roster::over_table(table, options(), |_| {
        Placement::new(Status::Online)
            .key(SortKey::from_u64(1))
            .bits(ONLINE)
    })
    .expect("a policy without a group");
    let mut tracker = Tracker::new(ReplicaId::new("a", 1, 0).expect("a good name"));
    for user in 0..USERS + USERS / 10 {
        let user = user.to_string();
        tracker
            .track(&NewEntry::new(ROOM, &user, "s"))
            .expect("tracked");
    }
    let joins = tracker.take_diff();
    for user in USERS..USERS + USERS / 10 {
        tracker.untrack(ROOM, &user.to_string(), "s");
    }
    let leaves = tracker.take_diff();
    let table_bytes = roster.table().heap_bytes();
    let grown = measure(|| {
        for diff in [&joins, &leaves] {
            let _ = roster.apply(diff.topic(ROOM).expect("changes"), 1);
        }
    });
    let table_bytes = roster.table().heap_bytes() - table_bytes;
    let bytes = usize::try_from(grown.bytes_current).expect("it grows") - table_bytes;
    assert_eq!(roster.online_count() as u64, USERS);
    let shown = roster.table().list(here).expect("built").member_count();
    assert_eq!(shown as u64, USERS);
    assert!(
        bytes <= 100 * USERS as usize,
        "{} each",
        bytes / USERS as usize
    );
}

#[test]
fn errors_of_a_table_are_told_as_those_of_a_list_where_lists_have_them() {
    let full = TableError::TooManyAttrSets { max: 7 };
    let error = RosterError::from(full.clone());
    assert_eq!(error, RosterError::Table(full.clone()));
    assert_eq!(error.to_string(), full.to_string());
    let none = ListError::NoPayloads;
    let error = RosterError::from(TableError::List(none.clone()));
    assert_eq!(error, RosterError::List(none));
}
