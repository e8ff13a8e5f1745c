//! Replicas that ask without end, and loads that are given up.

use super::*;
use crate::replica::own_index::{set_share, sum_share};

const HELD: Position = Position {
    life: 1,
    clock: 1,
    fingerprint: 7,
};

#[test]
fn a_replica_that_asks_without_end_is_answered_a_few_times_a_beat() {
    let mut a = replica("a", Config::default());
    write(&mut a, 10);
    let [b, c] = ["b", "c"].map(id);
    hear(&mut a, 10, &b, &beat(1));
    hear(&mut a, 10, &c, &beat(1));
    events(&mut a);
    let pull = first_question(a.own.id());
    let serves = |a: &mut Replica| {
        let actions = std::iter::from_fn(|| a.poll_action());
        actions
            .filter(|action| matches!(action, Action::Serve(_)))
            .count()
    };
    for _ in 0..10_000 {
        hear(&mut a, 20, &b, &pull);
    }
    assert_eq!(serves(&mut a), 512);
    hear(&mut a, 20, &c, &pull);
    assert_eq!(serves(&mut a), 1, "others are answered");
    let told = |count| Event::TooManyPulls {
        from: id("b"),
        count,
    };
    assert_eq!(events(&mut a), [told(1)]);
    hear(&mut a, 3_000, &b, &pull);
    assert_eq!(serves(&mut a), 1, "a beat later it is answered again");
    a.handle_timeout(Duration::from_secs(61));
    let rest = events(&mut a);
    assert!(rest.contains(&told(9_487)), "{rest:?}");
}

#[test]
fn nothing_is_answered_while_many_frames_wait() {
    let mut a = replica("a", Config::default());
    write(&mut a, 10);
    hear(&mut a, 10, &id("b"), &beat(1));
    while a.poll_action().is_some() {}
    let pull = frame(&id("b"), &first_question(a.own.id()));
    let now = Duration::from_millis(10);
    let waiting = Transmit {
        to: Destination::All,
        frame: vec![0; 32 << 20].into(),
    };
    a.out.push(waiting);
    take(&mut a, now, &"b".into(), &pull).unwrap();
    assert_eq!(a.poll_action(), None);
    assert!(a.poll_transmit().is_some());
    take(&mut a, now, &"b".into(), &pull).unwrap();
    assert!(matches!(a.poll_action(), Some(Action::Serve(_))));
}

/// Lets `a` hear the Beat of a replica that has `HELD` in the partition.
fn hear_beat(a: &mut Replica, ms: u64, b: &ReplicaId, number: u64) -> Vec<Message> {
    let beat = Message::Beat(Beat {
        heartbeat: number,
        seq: number,
        version: 1,
        set_hash: set_share(PARTITION),
        sum: sum_share(PARTITION, HELD),
        toggles: vec![PARTITION],
    });
    hear(a, ms, b, &beat)
}

fn hear_data(a: &mut Replica, ms: u64, b: &ReplicaId, data: Data) -> Vec<Message> {
    let partition = PARTITION;
    hear(a, ms, b, &Message::Data(Answer { partition, data }))
}

/// Reports that what was last handed on is held now.
fn report_held(a: &mut Replica, b: &ReplicaId, answers: Option<u32>) {
    while a.poll_action().is_some() {}
    a.report_applied(&Report {
        id: b.clone(),
        partition: PARTITION,
        held: Some(HELD),
        answers,
        part: 0,
        outcome: Outcome::Done,
    });
}

fn nonce_of(asked: &[Message]) -> Option<u32> {
    let items = asked.iter().find_map(|message| match message {
        Message::Pull { items, .. } => Some(items),
        _ => None,
    })?;
    items.iter().next().map(|item| item.nonce)
}

/// Before, it had, and was ready, though what it held was gone.
#[test]
fn a_node_that_drops_what_it_holds_to_load_it_whole_has_not_caught_up() {
    let b = id("b");
    let config = Config {
        pull_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    let mut a = replica("a", config);
    hear(&mut a, 0, &b, &beat(1));
    let delta = Data::Delta(Delta {
        life: 1,
        from: 0,
        to: 1,
        records: Bytes::new(),
    });
    hear_data(&mut a, 10, &b, delta);
    report_held(&mut a, &b, None);
    hear_beat(&mut a, 20, &b, 2);
    let altered = Position {
        fingerprint: 8,
        ..HELD
    };
    let asked = hear_data(&mut a, 30, &b, Data::Row(altered));
    let part = Data::Part(Part {
        life: 1,
        base: 0,
        to: 1,
        nonce: nonce_of(&asked).expect("it asks for all"),
        reply: 5,
        index: 0,
        count: 2,
        content: Bytes::from_static(b"first of two"),
    });
    hear_data(&mut a, 40, &b, part);
    assert!(matches!(a.poll_action(), Some(Action::Drop { .. })));
    // The second part never comes. The load is given up, what was asked is asked for again.
    let mut nonce = None;
    for ms in (50..3_500).step_by(50) {
        a.handle_timeout(Duration::from_millis(ms));
        nonce = nonce_of(&sent(&mut a)).or(nonce);
    }
    assert!(!a.is_synced(), "{:?}", events(&mut a));
    let repair = Data::Repair(Repair {
        life: 1,
        base: 0,
        to: 1,
        nonce: nonce.expect("it asks again"),
        content: Bytes::new(),
    });
    hear_data(&mut a, 3_500, &b, repair);
    // The load that was given up was dropped, too.
    a.report_dropped(&b, PARTITION);
    a.report_dropped(&b, PARTITION);
    report_held(&mut a, &b, nonce);
    hear_beat(&mut a, 3_510, &b, 3);
    assert!(a.is_synced());
}

/// Before, the report of what was loaded closed the question that had been asked since, and the Drop
/// after it was not asked about.
#[test]
fn a_report_on_what_is_dropped_after_it_answers_no_question() {
    let mut a = replica("a", Config::default());
    let b = id("b");
    hear(&mut a, 0, &b, &beat(1));
    let held = Position {
        life: 1,
        clock: 5,
        fingerprint: 7,
    };
    let about = |data| {
        Message::Data(Answer {
            partition: PARTITION,
            data,
        })
    };
    let asked = hear(&mut a, 10, &b, &about(Data::Row(held)));
    let handle = Handle::of(&b);
    let nonce = |a: &Replica| a.pulls.question(handle, PARTITION).unwrap().nonce;
    assert!(matches!(asked[..], [Message::Pull { .. }]), "{asked:?}");
    let first = nonce(&a);
    for index in 0..2 {
        let part = Data::Part(Part {
            life: 1,
            base: 0,
            to: 5,
            nonce: first,
            reply: 1,
            index,
            count: 2,
            content: vec![0; 9].into(),
        });
        hear(&mut a, 20, &b, &about(part));
    }
    let mut set = PartitionSet::new(Shape::default());
    set.toggle(PARTITION);
    hear(&mut a, 30, &b, &Message::IndexFull { version: 1, set });
    let actions: Vec<_> = std::iter::from_fn(|| a.poll_action()).collect();
    let is_drop = |action: &Action| matches!(action, Action::Drop { .. });
    assert!(actions.last().is_some_and(is_drop), "{actions:?}");
    // A thread that was late tells of the last part now.
    a.report_applied(&Report {
        id: b.clone(),
        partition: PARTITION,
        held: Some(held),
        answers: Some(first),
        part: 1,
        outcome: Outcome::Done,
    });
    assert_eq!(a.position(handle, PARTITION), None);
    a.report_dropped(&b, PARTITION);
    assert_ne!(nonce(&a), first, "another question is open");
    assert!(!a.is_dropping(handle, PARTITION));
}
