//! Ticks that several threads make together say what a tick of one thread says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use headcount::member_list::client::{Client, merge_json};
use headcount::member_list::{
    Attrs, Fields, Id, ListSpec, MemberTable, RowSource, SharedBodies, TableOptions, Tick,
};
use headcount::{Bodies, SortKey, Viewer, WindowSpec};
use proptest::prelude::*;

use crate::support::list_keys::Keys;
use crate::support::windows::{List, list};
use crate::windows_resume_model::{run, worlds};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn clients_of_ticks_on_threads_show_the_list(seed in 0u64..1 << 40, keys in Keys::any()) {
        for faults in [0, 4] {
            let mut worlds = worlds::<u64>(seed, keys, |id| id);
            worlds.iter_mut().for_each(|world| world.threads = 3);
            run(worlds, faults);
        }
    }

    #[test]
    fn threads_make_the_frames_of_one_thread(seed in 0u64..1 << 40, keys in Keys::any()) {
        let made = [0, 3].map(|threads| {
            let mut world = worlds::<u64>(seed, keys, |id| id).swap_remove(0);
            world.threads = threads;
            (0..200).for_each(|_| world.join());
            let mut viewer = Viewer::new();
            for _ in 0..6 {
                let spec = world.any_spec();
                let bodies = Bodies::from(&world.profiles);
                viewer.open(&mut world.list, spec, bodies).expect("a window of the list");
            }
            let ticks = (0..20).map(|_| {
                (0..5).for_each(|_| world.change(true));
                let frames = frames(&world.tick());
                let catch_up = viewer.catch_up(&mut world.list, Bodies::from(&world.profiles));
                (frames, catch_up.to_json())
            });
            ticks.collect::<Vec<_>>()
        });
        prop_assert_eq!(&made[0], &made[1]);
    }
}

/// Returns the frames of a tick, in an order of their own.
fn frames<I: Id>(tick: &Tick<I>) -> Vec<Vec<u8>> {
    let mut frames: Vec<_> = tick.frames().map(|frame| frame.json().to_vec()).collect();
    frames.sort();
    frames
}

/// Counts the bodies that it writes, and panics at the first so many.
#[derive(Default)]
struct Source {
    written: AtomicUsize,
    panics: AtomicUsize,
}

impl RowSource<u64> for Source {
    fn write_body(&self, id: &u64, _: Fields, out: &mut Vec<u8>) {
        let left = |left: usize| left.checked_sub(1);
        if self
            .panics
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .is_ok()
        {
            panic!("a source that fails");
        }
        self.written.fetch_add(1, Ordering::Relaxed);
        out.extend_from_slice(format!(r#"{{"id":{id}}}"#).as_bytes());
    }
}

/// A list, a viewer of a few windows, and its client.
fn watched(source: &Source) -> (List, Viewer<u64>, Client<u64>) {
    let (mut list, _) = list(900);
    let mut viewer = Viewer::new();
    let mut client = Client::new(merge_json);
    for chunk in 0..8 {
        let spec = WindowSpec::Chunk(chunk);
        let request = client.open(&spec.to_string());
        let bundle = viewer.open(&mut list, spec, Bodies::from(source));
        let _ = client.answer(request, &bundle.expect("a chunk"));
    }
    (list, viewer, client)
}

fn touch(list: &mut List) {
    for id in (1..=700).step_by(50) {
        list.touch(&id).expect("known");
    }
}

/// Checks that the client shows what another one gets that comes now.
fn check(list: &mut List, viewer: &mut Viewer<u64>, client: &mut Client<u64>, tick: &Tick<u64>) {
    let report = client.apply(&viewer.bundle(tick).expect("rows have changed"));
    assert_eq!(report.resync, []);
    for (name, window) in client.windows() {
        let mut other = Client::new(merge_json);
        let request = other.open(name);
        let source = Source::default();
        let spec = WindowSpec::parse(name).expect("a canonical name");
        let opened = Viewer::new().open(list, spec, Bodies::from(&source));
        let _ = other.answer(request, &opened.expect("a chunk"));
        assert_eq!(other.window(name).expect("open").rows(), window.rows());
    }
}

#[test]
fn finish_makes_the_windows_whose_source_panicked() {
    let source = Source::default();
    let (mut list, mut viewer, mut client) = watched(&source);
    touch(&mut list);
    source.panics.store(2, Ordering::Relaxed);
    let work = list.begin_tick(Duration::from_millis(250), SharedBodies::from(&source));
    let step = || catch_unwind(AssertUnwindSafe(|| while work.step(3) {})).is_err();
    let blown: usize = thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(step));
        let threads = threads
            .into_iter()
            .map(|thread| thread.join().expect("it is caught"));
        threads.map(usize::from).sum()
    });
    assert!(blown > 0);
    let tick = work.finish();
    check(&mut list, &mut viewer, &mut client, &tick);
}

#[test]
fn a_tick_that_is_dropped_is_published_by_the_next() {
    let source = Source::default();
    let (mut list, mut viewer, mut client) = watched(&source);
    touch(&mut list);
    source.panics.store(usize::MAX, Ordering::Relaxed);
    let work = list.begin_tick(Duration::from_millis(250), SharedBodies::from(&source));
    assert!(catch_unwind(AssertUnwindSafe(|| work.finish())).is_err());
    source.panics.store(0, Ordering::Relaxed);
    let work = list.begin_tick(Duration::from_millis(500), SharedBodies::from(&source));
    assert!(work.step(3));
    drop(work);
    list.touch(&7).expect("known");
    let tick = list.tick(Duration::from_millis(750), Bodies::from(&source));
    check(&mut list, &mut viewer, &mut client, &tick);
}

#[test]
fn steps_end_when_no_window_is_left() {
    let source = Source::default();
    let (mut list, _viewer, _) = watched(&source);
    for windows in [0, 1, 3, 8, usize::MAX] {
        let work = list.begin_tick(Duration::ZERO, SharedBodies::None);
        let steps = (0..).take_while(|_| work.step(windows)).count();
        assert_eq!(steps + 1, 8_usize.div_ceil(windows.max(1)));
        assert!(!work.step(windows));
    }
    let (mut list, _) = self::list(3);
    assert!(!list.begin_tick(Duration::ZERO, SharedBodies::None).step(64));
}

#[test]
fn tables_make_the_frames_of_one_thread_and_write_each_body_once() {
    let made = [false, true].map(|is_shared| {
        let mut table = MemberTable::<u64>::new(TableOptions::default()).expect("good options");
        let lists = ["all", "some", "nobody's"].map(|name| {
            table
                .add_list(ListSpec::new(name, "online"))
                .expect("a new list")
        });
        for id in 1..=300 {
            table
                .upsert(id, &[SortKey::from_u64(id)], Attrs::EMPTY, None)
                .expect("room");
        }
        table.build(usize::MAX);
        let mut viewers = [Viewer::new(), Viewer::new()];
        for (viewer, list) in viewers.iter_mut().zip(lists) {
            for chunk in 0..3 {
                let live = &mut table.live(list).expect("built");
                viewer
                    .open(live, WindowSpec::Chunk(chunk), Bodies::None)
                    .expect("a chunk");
            }
        }
        let source = Source::default();
        for id in 1..=9 {
            table.touch_fields(&(id * 30), Fields::ALL).expect("known");
        }
        let now = Duration::from_millis(250);
        let tick = match is_shared {
            false => table.tick(now, Bodies::from(&source)),
            true => {
                let work = table.begin_tick(now, SharedBodies::from(&source));
                while work.step(1) {}
                work.finish()
            }
        };
        assert_eq!(source.written.into_inner(), 9);
        assert!(tick.list(lists[2]).is_none());
        viewers
            .each_mut()
            .map(|viewer| tick.bundle(viewer).expect("rows have changed").to_json())
    });
    assert_eq!(made[0], made[1]);
}
