//! A list of 100,000 members; a client watches its first 100 rows and is sent only what changes
//! there.
//!
//! ```text
//! cargo run --example watched_list
//! ```

use std::error::Error;
use std::time::Duration;

use headcount::member_list::client::{Client, ClientWindow};
use headcount::member_list::{Fields, FrameRow, NewMember, RowSource};
use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};

/// The source of row bodies: a database in an application, a formula here.
struct Names;

impl RowSource<u64> for Names {
    fn write_body(&self, id: &u64, _fields: Fields, out: &mut Vec<u8>) {
        out.extend_from_slice(format!(r#"{{"name":"{}"}}"#, name(*id)).as_bytes());
    }
}

fn name(id: u64) -> String {
    format!("member {id:06}")
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let mut list = MemberList::<u64>::new(ListOptions::default());
    let groups = list.set_groups(&["online", "offline"])?;
    let members = (0..100_000).map(|id| NewMember {
        id,
        group: groups[1],
        key: SortKey::from_name(&name(id)),
        attrs: 0,
    });
    list.bulk_load(members)?;

    // The server keeps a viewer for each connection, the client its windows.
    let mut viewer = Viewer::new();
    let mut client = Client::new(|_, patch| patch.to_vec());
    let request = client.open("c:0");
    let first = viewer.open(&mut list, WindowSpec::Chunk(0), Bodies::Source(&Names))?;
    println!("the first 100 rows are {} bytes", first.to_binary().len());
    let applied = client.answer(request, &first);
    assert!(applied.resync.is_empty(), "the client missed nothing");

    // Two members come online. One of 100,000 others changes where the client does not look.
    list.set_group(&70_000, groups[0])?;
    list.set_group(&30_000, groups[0])?;
    list.set_attrs(&99_999, 1)?;
    let tick = list.tick(Duration::from_millis(250), Bodies::Source(&Names));
    let changes = viewer.bundle(&tick).ok_or("the window has changed")?;
    println!(
        "what changed in them is {} bytes",
        changes.to_binary().len()
    );
    let applied = client.apply(&changes);
    assert!(applied.resync.is_empty(), "the client missed nothing");

    let window = client.window("c:0").ok_or("the window is open")?;
    print_top(window);
    assert_eq!(list.index_of(&70_000), Some(2));
    assert!(matches!(
        window.rows()[2],
        FrameRow::Member { id: 70_000, .. }
    ));
    Ok(())
}

fn print_top(window: &ClientWindow<u64>) {
    for (index, row) in window.rows().iter().take(6).enumerate() {
        match row {
            FrameRow::Header { group, count } => println!("{index}  {group} ({count})"),
            FrameRow::Member { id, .. } => println!("{index}    {}", name(*id)),
        }
    }
}
