//! One table of 50,000 members, three lists: everyone, the moderators' channel, and the newest
//! members. A role decides who is in which list; a user who loses it sees nothing more.
//!
//! ```text
//! cargo run --example many_lists
//! ```

use std::error::Error;
use std::time::Duration;

use headcount::member_list::client::Client;
use headcount::member_list::{Attrs, Clause, ListSpec, MemberTable, TableOptions};
use headcount::{Bodies, SortKey, Viewer, WindowSpec};

const ONLINE: u16 = 0;
const MODERATOR: u16 = 40;

/// The key columns: names, and the times at which members joined.
const NAME: usize = 0;
const JOINED: usize = 1;

fn name(id: u64) -> String {
    format!("member {id:05}")
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let online = Attrs::of([ONLINE])?;
    let moderator = Attrs::of([MODERATOR])?;
    let options = TableOptions::default().key_columns(2).shown(1 << ONLINE);
    let mut table = MemberTable::<u64>::new(options)?;
    for id in 0..50_000 {
        let keys = [SortKey::from_name(&name(id)), SortKey::from_u64(id / 10)];
        let attrs = if id % 1_000 == 0 {
            moderator
        } else {
            Attrs::EMPTY
        };
        table.upsert(id, &keys, attrs, None)?;
    }

    let is_online = Clause::new().all(online);
    let everyone = ListSpec::new("everyone", "offline").group(is_online, "online");
    let everyone = table.add_list(everyone.sort_by(NAME))?;
    let channel = ListSpec::new("channel 7", "offline")
        .admit([Clause::new().all(moderator)])
        .group(is_online, "online");
    let channel = table.add_list(channel)?;
    let newest = ListSpec::new("newest", "members")
        .sort_by(JOINED)
        .descending(true);
    let newest = table.add_list(newest)?;
    // In a server, between its other work.
    while table.build(4_000) > 0 {}
    println!(
        "rows: {} of everyone, {} in the channel",
        table.list(everyone)?.len(),
        table.list(channel)?.len()
    );
    println!(
        "{} bytes a member, all lists included",
        table.heap_bytes() / table.len()
    );

    // A viewer of the channel, and its client.
    let mut viewer = Viewer::new();
    let mut client = Client::new(|_, patch| patch.to_vec());
    let request = client.open("c:0");
    let spec = WindowSpec::Chunk(0);
    let first = viewer.open(&mut table.live(channel)?, spec, Bodies::None)?;
    assert!(client.answer(request, &first).resync.is_empty());

    let mut moves = Vec::new();
    table.set_attrs(&3_000, &Attrs::EMPTY, &online, Some(&mut moves))?;
    table.set_attrs(&3_001, &Attrs::EMPTY, &online, Some(&mut moves))?;
    table.set_attrs(&4_000, &moderator, &Attrs::EMPTY, Some(&mut moves))?;
    for moved in &moves {
        println!(
            "list {}: {:?} -> {:?}",
            moved.list, moved.old_index, moved.index
        );
    }
    let tick = table.tick(Duration::from_millis(250), Bodies::None);
    let bundle = tick.bundle(&mut viewer).ok_or("the channel has changed")?;
    assert!(client.apply(&bundle).resync.is_empty());
    let rows = client
        .window("c:0")
        .ok_or("the window is open")?
        .rows()
        .len();
    assert_eq!(rows, 2 + 49); // two headers, one moderator less

    // The viewer goes to another list and searches there.
    let search = WindowSpec::search(&SortKey::from_name("Member 030"), 0);
    let request = client.switch([search.to_string().as_str()]);
    let searches = std::slice::from_ref(&search);
    let answer = viewer.switch(&mut table.live(everyone)?, searches, Bodies::None)?;
    assert!(client.answer(request, &answer).resync.is_empty());
    let found = client
        .window(&search.to_string())
        .ok_or("the search is open")?;
    println!("{:?} members match", found.matches());
    assert_eq!(found.matches(), Some(100));
    assert_eq!(table.list(newest)?.index_of(&49_999), Some(1));

    // The table goes to a file, in steps between which it changes, and comes back.
    let mut job = table.begin_save()?;
    let mut file = Vec::new();
    while !job.step(&mut table, 1 << 16, &mut file)? {
        table.remove(&0, None);
    }
    let saved = MemberTable::<u64>::load(&file[..], 1_790_000_000_000)?;
    println!("{saved:?} from {} bytes", file.len());
    assert_eq!((saved.len(), table.len()), (50_000, 49_999));
    let newest = saved.list_named("newest").ok_or("it was saved")?;
    assert_eq!(saved.list(newest)?.index_of(&49_999), Some(1));
    Ok(())
}
