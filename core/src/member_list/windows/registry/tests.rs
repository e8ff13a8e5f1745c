use super::*;
use crate::member_list::{Bodies, ListOptions, MemberList, RowKey, SortKey, Viewer};

fn list(members: u64) -> MemberList<u64> {
    let mut list = MemberList::new(ListOptions::default());
    let group = list.add_group("online").expect("a good name");
    for id in 0..members {
        list.upsert(id, group, &SortKey::from_u64(id), 0)
            .expect("room");
    }
    list
}

fn live_windows(list: &MemberList<u64>) -> usize {
    let windows = &list.windows;
    let known = windows.watched.values().chain(&windows.detached);
    known.filter(|known| known.strong_count() > 0).count()
}

#[test]
fn closed_windows_go_at_once() {
    let mut list = list(5_000);
    let mut viewer = Viewer::resumable();
    let around = |id| WindowSpec::anchored(id, 20, 20);
    viewer
        .open(&mut list, around(0), Bodies::None)
        .expect("open");
    let mut gone: Vec<Known<u64>> = Vec::new();
    for id in 1..5_000 {
        gone.extend(list.windows.watched.get(&around(id - 1)).cloned());
        viewer
            .retarget(&mut list, &around(id - 1), around(id), Bodies::None)
            .expect("there");
        assert!(gone.iter().all(|known| known.strong_count() == 0));
        gone.clear();
        let windows = &list.windows;
        assert!(windows.known() <= 2 * KNOWN_MIN && windows.slid.len() <= 2 * KNOWN_MIN);
    }
    assert_eq!(live_windows(&list), 1);
    viewer.close(&around(4_999)).expect("held");
    assert_eq!(live_windows(&list), 0);
    viewer
        .open(&mut list, around(7), Bodies::None)
        .expect("open");
    drop(viewer);
    for (seconds, kept) in [(0, 1), (59, 1), (60, 0)] {
        let _ = list.tick(Duration::from_secs(seconds), Bodies::None);
        assert_eq!(
            live_windows(&list),
            kept,
            "{seconds} s after the viewer left"
        );
    }
}

#[test]
fn viewers_that_are_not_asked_keep_two_handles() {
    let mut list = list(20);
    let mut viewers = [Viewer::new(), Viewer::new(), Viewer::new()];
    for viewer in &mut viewers {
        let spec = WindowSpec::anchored(10, 2, 2);
        viewer.open(&mut list, spec, Bodies::None).expect("open");
    }
    let mut seen: Vec<Known<u64>> = Vec::new();
    let [slow, slower, fast] = &mut viewers;
    for step in 0..600 {
        let Some(WindowSpec::Anchored {
            anchor: RowKey::Member(id),
            ..
        }) = fast.windows().next().cloned()
        else {
            panic!("a window around a member")
        };
        list.set_key(&id, &SortKey::from_u64(100 + step))
            .expect("known");
        let tick = list.tick(Duration::from_millis(step), Bodies::None);
        fast.bundle(&tick).expect("renamed");
        if step == 300 {
            let _ = slow.bundle(&tick);
        }
        seen.extend(list.windows.watched.values().cloned());
        seen.retain(|known| known.strong_count() > 0);
        // What the slow ones hold, what that became by now, and what it was before this tick.
        assert!(seen.len() <= 4, "{} handles", seen.len());
        let newest = seen.iter().filter_map(Weak::upgrade);
        assert!(newest.map(|handle| handle.former_len()).max() <= Some(4));
    }
    drop(slower.bundle(&list.tick(Duration::from_secs(9), Bodies::None)));
    slower.catch_up(&mut list, Bodies::None);
    assert!(slower.windows().eq(fast.windows()));
    assert_eq!(live_windows(&list), 1);
}

#[test]
fn marks_of_what_was_said_are_as_many_as_viewers_that_are_behind() {
    let mut list = list(20);
    let mut viewers = [Viewer::new(), Viewer::new(), Viewer::new()];
    for viewer in &mut viewers {
        let chunk = WindowSpec::Chunk(0);
        viewer.open(&mut list, chunk, Bodies::None).expect("open");
    }
    for step in 0..600 {
        list.touch(&(step % 20)).expect("known");
        let tick = list.tick(Duration::from_millis(250 * step), Bodies::None);
        let _ = viewers[step as usize % 2].bundle(&tick);
        list.begin_epoch("room", step + 2).expect("a higher epoch");
        assert!(list.windows.older.len() <= viewers.len() + 1);
    }
    drop(viewers);
    for seconds in [900, 960] {
        let _ = list.tick(Duration::from_secs(seconds), Bodies::None);
    }
    assert!(list.windows.older.is_empty() && !list.windows.has_viewers());
}
