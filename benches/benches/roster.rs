//! The cost of a change of presence in a `Roster` over a list, and the bytes of a user online.
//!
//! `cargo bench -p headcount-benches --bench roster [-- MEMBERS]`, 1,000,000 by default.

use std::hint::black_box;
use std::time::{Duration, Instant};

use headcount::id::{Dot, Origin, ReplicaId};
use headcount::member_list::NewMember;
use headcount::roster::OfflinePolicy;
use headcount::tracker::Update;
use headcount::{
    EntryBuf, GroupId, ListOptions, MemberList, NewEntry, Placement, Roster, RosterOptions,
    SortKey, Status, TopicDiff,
};
use headcount_benches::list::{Rng, nicknames};
use headcount_benches::memory::{Counting, in_use};
use headcount_benches::meter::time_each;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NODES: usize = 8;
const CHANGES: usize = 200_000;

/// The sessions of a room: each user has one, on one of some nodes.
struct Sessions {
    origins: Vec<Origin>,
    /// The last op of each node.
    ops: Vec<u64>,
}

impl Sessions {
    fn new() -> Self {
        let origin = |at| Origin {
            replica: ReplicaId::new(&format!("chat-{at}"), 1_700_000_000_000_000, 7)
                .expect("a short name"),
            partition: 0,
        };
        Self {
            origins: (0..NODES).map(origin).collect(),
            ops: vec![0; NODES],
        }
    }

    /// Makes a version of the session of a user: the first one, or the one after `old`.
    fn version(
        &mut self,
        user: &NewMember<u64>,
        status: Status,
        old: Option<&EntryBuf>,
    ) -> EntryBuf {
        let node = user.id as usize % NODES;
        self.ops[node] += 1;
        let op = self.ops[node];
        let key = user.id.to_string();
        let owner = format!("c{}", user.id % 1_000);
        let entry = NewEntry::new("room", &key, &owner).meta(user.key.as_bytes());
        let dot = Dot {
            origin: self.origins[node].clone(),
            birth: old.map_or(op, EntryBuf::birth),
        };
        EntryBuf::new(&entry.status(status as u8), dot, op)
    }
}

/// A roster over a list of members who are all offline, and the session of each of some users.
struct Room {
    roster: Roster<u64>,
    users: Vec<NewMember<u64>>,
    sessions: Sessions,
    online: Vec<EntryBuf>,
}

fn mapping(groups: &[GroupId]) -> impl Fn(&EntryBuf) -> Placement + Send + Sync + 'static {
    let online = groups[0];
    let idle = groups[1];
    move |entry| {
        let status = Status::of_session(entry.status());
        let name = std::str::from_utf8(entry.meta()).expect("names are text");
        let group = if status == Status::Idle { idle } else { online };
        Placement::new(status)
            .group(group)
            .key(SortKey::from_name(name))
    }
}

fn empty_list() -> (MemberList<u64>, Vec<GroupId>) {
    let mut list = MemberList::new(ListOptions::default());
    let groups = list.set_groups(&["online", "idle", "offline"]);
    (list, groups.expect("three short names"))
}

impl Room {
    fn new(members: usize) -> Self {
        let (list, groups) = empty_list();
        let options = RosterOptions::default().offline(OfflinePolicy::Keep(groups[2]));
        let mut roster = Roster::new(list, options, mapping(&groups));
        let member = |(id, name): (u64, String)| NewMember {
            id,
            group: groups[2],
            key: SortKey::from_name(&name),
            attrs: 0,
        };
        let users: Vec<_> = nicknames(members, 7).into_iter().map(member).collect();
        roster.load_offline(users.iter().copied()).expect("room");
        Self {
            roster,
            users,
            sessions: Sessions::new(),
            online: Vec::new(),
        }
    }

    /// Lets users join until so many are online; prints the cost of each.
    fn join(&mut self, online: usize) {
        let statuses = [Status::Online, Status::Idle, Status::Dnd];
        let mut joined = Vec::new();
        for at in self.online.len()..online {
            let user = &self.users[at];
            joined.push(self.sessions.version(user, statuses[at % 3], None));
        }
        self.online.extend(joined.iter().cloned());
        let diffs = joined.chunks(1_000);
        let diffs: Vec<_> = diffs
            .map(|joins| room_diff(joins.to_vec(), Vec::new()))
            .collect();
        let own = |roster: &Roster<u64>| in_use() - roster.list().heap_bytes();
        let mut longest = Duration::ZERO;
        let before = own(&self.roster);
        let each = time_each(joined.len(), || {
            for diff in &diffs {
                let start = Instant::now();
                let _ = black_box(self.roster.apply(diff, 1));
                longest = longest.max(start.elapsed());
            }
        });
        println!(
            "  {} users join, in Diffs of 1,000: {} us each, longest {:.1} ms; {:.0} bytes each",
            joined.len(),
            us(each),
            longest.as_secs_f64() * 1e3,
            (own(&self.roster) - before) as f64 / joined.len() as f64
        );
    }

    /// Changes statuses of users at random; prints the cost of each change.
    fn change(&mut self, rng: &mut Rng, size: usize) {
        let mut diffs = Vec::new();
        for _ in 0..CHANGES.min(self.online.len()) / size {
            let mut updates = Vec::with_capacity(size);
            for _ in 0..size {
                let at = rng.below(self.online.len());
                let old = self.online[at].clone();
                let idle = old.status() == Status::Idle as u8;
                let status = if idle { Status::Online } else { Status::Idle };
                let new = self.sessions.version(&self.users[at], status, Some(&old));
                self.online[at] = new.clone();
                updates.push(Update { old, new });
            }
            diffs.push(room_diff(Vec::new(), updates));
        }
        let count = diffs.len() * size;
        let roster = time_each(count, || {
            for diff in &diffs {
                let _ = black_box(self.roster.apply(diff, 2));
            }
        });
        let list = self.list_alone(&diffs);
        println!(
            "  status changes in Diffs of {size}: {} us each; the list alone {}",
            us(roster),
            us(list)
        );
    }

    /// Does in the list what these Diffs do, twice over, and returns the cost of each write.
    fn list_alone(&mut self, diffs: &[TopicDiff]) -> Duration {
        let groups: Vec<GroupId> = self.roster.list().groups().map(|group| group.id).collect();
        let updates = diffs.iter().flat_map(|diff| &diff.updates);
        let write = |update: &Update| {
            let id: u64 = update.new.key_str()?.parse().ok()?;
            let to_idle = update.new.status() == Status::Idle as u8;
            Some((
                id,
                groups[usize::from(to_idle)],
                groups[usize::from(!to_idle)],
            ))
        };
        let writes: Vec<_> = updates.filter_map(write).collect();
        let list = self.roster.list_mut();
        time_each(writes.len() * 2, || {
            for (id, _, back) in writes.iter().rev() {
                black_box(list.set_group(id, *back)).expect("known");
                black_box(list.touch(id)).expect("known");
            }
            for (id, to, _) in &writes {
                black_box(list.set_group(id, *to)).expect("known");
                black_box(list.touch(id)).expect("known");
            }
        })
    }
}

fn room_diff(joins: Vec<EntryBuf>, updates: Vec<Update>) -> TopicDiff {
    TopicDiff {
        topic: "room".into(),
        joins,
        leaves: Vec::new(),
        updates,
    }
}

fn us(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e6)
}

/// Changes the status of one of the many sessions of one user, again and again.
fn one_user(sessions: usize) {
    let (list, groups) = empty_list();
    let mut roster = Roster::new(list, RosterOptions::default(), mapping(&groups));
    let mut made = Sessions::new();
    let user = NewMember {
        id: 7,
        group: groups[0],
        key: SortKey::from_name("ann"),
        attrs: 0,
    };
    let mut entries: Vec<EntryBuf> = (0..sessions)
        .map(|_| made.version(&user, Status::Online, None))
        .collect();
    let join = time_each(sessions, || {
        for entry in &entries {
            let _ = roster.apply(&room_diff(vec![entry.clone()], Vec::new()), 1);
        }
    });
    let mut rng = Rng::new(3);
    let diffs: Vec<_> = (0..1_000)
        .map(|_| {
            let at = rng.below(sessions);
            let old = entries[at].clone();
            let statuses = [Status::Online, Status::Idle, Status::Dnd];
            let new = made.version(&user, statuses[rng.below(3)], Some(&old));
            entries[at] = new.clone();
            room_diff(Vec::new(), vec![Update { old, new }])
        })
        .collect();
    let change = time_each(diffs.len(), || {
        for diff in &diffs {
            let _ = black_box(roster.apply(diff, 2));
        }
    });
    println!(
        "one user of {sessions} sessions: a join {} us, a status change {} us",
        us(join),
        us(change)
    );
}

fn main() {
    let number = std::env::args().find_map(|argument| argument.parse().ok());
    let number: usize = number.unwrap_or(1_000_000);
    let mut room = Room::new(number);
    let mut names: Vec<_> = room.users.iter().map(|user| user.key).collect();
    names.sort_unstable();
    names.dedup();
    println!(
        "{number} members, {:.0} % with a name that another one has as well",
        100.0 * (number - names.len()) as f64 / number as f64
    );
    drop(names);
    let mut rng = Rng::new(9);
    for online in [number / 10, number] {
        println!("{online} users online:");
        room.join(online);
        for size in [1, 100, 1_000] {
            room.change(&mut rng, size);
        }
    }
    for sessions in [1_000, 4_000, 16_000] {
        one_user(sessions);
    }
}
