//! Presence becomes a member list: many sessions of one user are one row, in the group of the
//! session that decides.
//!
//! ```text
//! cargo run --example presence_to_list
//! ```

use std::error::Error;

use headcount::member_list::TextId;
use headcount::roster::OfflinePolicy;
use headcount::{
    EntryBuf, GroupId, ListOptions, MemberList, NewEntry, Placement, Presence, PresenceConfig,
    ReplicaId, Roster, RosterOptions, Row, SortKey, Status,
};

const ROOM: &str = "room";

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let presence = Presence::new(ReplicaId::new("node-1", 1, 0)?, PresenceConfig::default());
    let mut list = MemberList::<TextId>::new(ListOptions::default());
    let groups = list.set_groups(&["online", "idle", "offline"])?;
    let options = RosterOptions::default().offline(OfflinePolicy::Keep(groups[2]));
    let mut roster = Roster::new(list, options, move |entry| place(entry, &groups));

    let session = |key, owner, status: Status| NewEntry::new(ROOM, key, owner).status(status as u8);
    presence.track(&session("ann", "phone", Status::Idle))?;
    presence.track(&session("ann", "laptop", Status::Online))?;
    presence.track(&session("bob", "laptop", Status::Idle))?;
    feed(&presence, &mut roster);
    println!("ann is online with one of two devices, bob is idle:");
    print_rows(&roster);
    assert_eq!(rows(&roster), ["online 1", "ann", "idle 1", "bob"]);

    presence.untrack(ROOM, "ann", "laptop");
    presence.untrack(ROOM, "bob", "laptop");
    feed(&presence, &mut roster);
    println!("the laptops are shut:");
    print_rows(&roster);
    assert_eq!(rows(&roster), ["idle 1", "ann", "offline 1", "bob"]);

    // An invisible user is offline to all other users.
    presence.update(&session("ann", "phone", Status::Invisible))?;
    feed(&presence, &mut roster);
    println!("ann turns invisible:");
    print_rows(&roster);
    assert_eq!(rows(&roster), ["offline 2", "ann", "bob"]);
    Ok(())
}

/// Says where a session puts its user while that session decides.
fn place(entry: &EntryBuf, groups: &[GroupId]) -> Placement {
    let status = Status::of_session(entry.status());
    let group = match status {
        Status::Idle => groups[1],
        _ => groups[0],
    };
    let key = SortKey::from_name(entry.key_str().unwrap_or_default());
    Placement::new(status).group(group).key(key)
}

/// Applies the changes in the room to the roster.
fn feed(presence: &Presence, roster: &mut Roster<TextId>) {
    if let Some(changes) = presence.take_diff().topic(ROOM) {
        let report = roster.apply(changes, 1_700_000_000);
        assert!(report.refused.is_empty(), "all users fit in the list");
    }
}

fn rows(roster: &Roster<TextId>) -> Vec<String> {
    let rows = roster.list().iter().map(|row| match row {
        Row::Header { name, count, .. } => format!("{name} {count}"),
        Row::Member { id, .. } => id.to_string(),
    });
    rows.collect()
}

fn print_rows(roster: &Roster<TextId>) {
    for row in rows(roster) {
        println!("  {row}");
    }
}
