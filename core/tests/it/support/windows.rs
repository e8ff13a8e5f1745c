//! A small list and its windows, for tests of single rules.

use std::time::Duration;

use headcount::member_list::{Bundle, Tick};
use headcount::{Bodies, GroupId, ListOptions, MemberList, SortKey, Viewer, WindowSpec};

pub(crate) type List = MemberList<u64>;

/// Makes a list of the members 1 to `members`, in order in the group "online", which comes after
/// "mods".
pub(crate) fn list(members: u64) -> (List, [GroupId; 3]) {
    let mut list = List::new(ListOptions::default());
    let groups = list
        .set_groups(&["mods", "online", "offline"])
        .expect("good names");
    for id in 1..=members {
        list.upsert(id, groups[1], &SortKey::from_u64(id), 0)
            .expect("room");
    }
    (list, [groups[0], groups[1], groups[2]])
}

pub(crate) fn open(list: &mut List, viewer: &mut Viewer<u64>, name: &str) -> Bundle<u64> {
    let spec = WindowSpec::parse(name).expect("a canonical name");
    viewer.open(list, spec, Bodies::None).expect("open")
}

pub(crate) fn tick(list: &mut List, ms: u64) -> Tick<u64> {
    list.tick(Duration::from_millis(ms), Bodies::None)
}
