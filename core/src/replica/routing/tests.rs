//! Frames that no honest peer sends, and the bounds of answers.

mod bounds;

use super::*;
use crate::codec::{Mode, Shape};
use crate::id::OP_MAX;
use crate::replica::message::{
    Answer, Beat, Data, Delta, Mark, Part, Position, PullItem, Repair, Row, Same, TooLong,
};
use crate::replica::output::{Found, Outcome, Pushed, Report, Served};
use crate::replica::partition_set::PartitionSet;
use crate::replica::{Signal, SignalError};

const PARTITION: u16 = 3;

fn id(name: &str) -> ReplicaId {
    ReplicaId::new(name, 1, 1).unwrap()
}

fn replica(name: &str, config: Config) -> Replica {
    let mut replica = Replica::new(id(name), config, 1);
    replica.handle_timeout(Duration::ZERO);
    replica
}

fn frame(sender: &ReplicaId, message: &Message) -> Bytes {
    let seal = Envelope::new("headcount", None, Shape::default());
    message::encode(&seal, sender, Handle::of(sender), message)
}

fn beat(heartbeat: u64) -> Message {
    Message::Beat(Beat {
        heartbeat,
        seq: heartbeat,
        version: 0,
        set_hash: 0,
        sum: 0,
        toggles: Vec::new(),
    })
}

/// Hands a message to a replica at a time. Returns what it sends then.
fn hear(replica: &mut Replica, ms: u64, sender: &ReplicaId, message: &Message) -> Vec<Message> {
    let now = Duration::from_millis(ms);
    let from = sender.name().into();
    while replica.poll_transmit().is_some() {}
    take(replica, now, &from, &frame(sender, message)).unwrap();
    sent(replica)
}

/// Hands a frame to a replica.
fn take(
    replica: &mut Replica,
    now: Duration,
    from: &Address,
    frame: &Bytes,
) -> Result<(), OpenError> {
    let received = replica.frame_reader().open(frame);
    replica.handle_message(now, from, frame, received)
}

/// Asks a replica for all that it has in the partition.
fn first_question(of: &ReplicaId) -> Message {
    let question = PullItem {
        partition: PARTITION,
        life: 0,
        clock: 0,
        is_full: false,
        nonce: 7,
    };
    Message::Pull {
        origin: Handle::of(of),
        items: List::new(Shape::default(), [question]),
    }
}

fn sent(replica: &mut Replica) -> Vec<Message> {
    let seal = Envelope::new("headcount", None, Shape::default());
    let transmits = std::iter::from_fn(|| replica.poll_transmit());
    transmits
        .map(|transmit| message::decode(&seal, &transmit.frame).unwrap().message)
        .collect()
}

fn events(replica: &mut Replica) -> Vec<Event> {
    std::iter::from_fn(|| replica.poll_event()).collect()
}

/// Lets a replica write its first entry in a partition, of which the records take that many bytes.
fn write(replica: &mut Replica, bytes: usize) {
    replica.report_clock(Duration::ZERO, PARTITION, 1, 1);
    replica.handle_timeout(Duration::from_millis(10));
    let push = replica.poll_action();
    let partition = PARTITION;
    assert_eq!(
        push,
        Some(Action::Push {
            partition,
            since: 0
        })
    );
    replica.answer_push(Pushed {
        partition,
        since: 0,
        clock: 1,
        fingerprint: 7,
        records: Some(vec![0; bytes].into()),
    });
}

#[test]
fn a_frame_of_another_shape_is_reported_once_a_minute_and_changes_nothing() {
    let mut a = replica("a", Config::default());
    let theirs = Shape::new(64, Mode::All).unwrap();
    let seal = Envelope::new("headcount", None, theirs);
    let bytes = message::encode(&seal, &id("b"), Handle::of(&id("b")), &beat(1));
    let from: Address = "b".into();
    let mut reports = Vec::new();
    for second in 0..130 {
        let now = Duration::from_secs(second);
        let refused = take(&mut a, now, &from, &bytes);
        assert_eq!(refused, Err(OpenError::OtherShape(theirs)));
        reports.extend(events(&mut a));
    }
    let ours = Shape::default();
    let report = |count| Event::ShapeMismatch {
        from: from.clone(),
        ours,
        theirs,
        count,
    };
    assert_eq!(reports, [report(1), report(60), report(60)]);
    assert_eq!(a.replicas().count(), 0);
}

#[test]
fn addresses_of_unreadable_frames_are_remembered_within_a_bound() {
    let mut a = replica("a", Config::default());
    let noise = Bytes::from_static(b"noise");
    for number in 0..2_048 {
        let from = number.to_string().into();
        let refused = take(&mut a, Duration::ZERO, &from, &noise);
        assert!(refused.is_err());
    }
    let told = events(&mut a);
    assert_eq!(told.len(), 1_025);
    a.handle_timeout(Duration::from_secs(59));
    assert_eq!(events(&mut a), [Event::Ready { missing: vec![] }]);
    a.handle_timeout(Duration::from_secs(60));
    let told = told.into_iter().chain(events(&mut a));
    let counts: Vec<_> = told.map(|event| event.count()).collect();
    assert_eq!(
        (counts.len(), counts.iter().sum()),
        (1_026, 2_048),
        "none is left out"
    );
}

#[test]
fn frames_of_unknown_handles_are_dropped_and_only_beats_admit() {
    let mut a = replica("a", Config::default());
    let delta = Data::Delta(Delta {
        life: 1,
        from: 0,
        to: 1,
        records: Bytes::new(),
    });
    let delta = Message::Data(Answer {
        partition: PARTITION,
        data: delta,
    });
    assert!(hear(&mut a, 0, &id("b"), &delta).is_empty());
    assert_eq!((a.replicas().count(), a.poll_action()), (0, None));
    hear(&mut a, 0, &id("b"), &beat(1));
    assert_eq!(a.replicas().count(), 1);
    hear(&mut a, 0, &id("b"), &delta);
    assert!(matches!(a.poll_action(), Some(Action::Apply(_))));
}

#[test]
fn a_storm_of_requests_is_answered_a_few_times_a_beat() {
    let mut a = replica("a", Config::default());
    write(&mut a, 8);
    hear(&mut a, 10, &id("b"), &beat(1));
    let origin = Handle::of(&id("a"));
    let requests = [
        Message::Ask { origin, since: 0 },
        Message::IndexPull { origin, version: 0 },
    ];
    for request in requests {
        let storm = 1_000..2_000;
        let answers = storm.map(|ms| hear(&mut a, ms, &id("b"), &request).len());
        let count: usize = answers.sum();
        assert!((1..=4).contains(&count), "{count} answers to {request:?}");
    }
}

#[test]
fn evidence_of_a_second_self_counts_only_for_the_identity_that_it_names() {
    let other = Handle::of(&id("other"));
    let own = Handle::of(&id("a"));
    for (origin, is_reborn) in [(other, false), (own, true)] {
        let question = PullItem {
            partition: PARTITION,
            life: 9,
            clock: 9,
            is_full: false,
            nonce: 7,
        };
        let items = List::new(Shape::default(), [question]);
        let evidence = [
            Message::Pull { origin, items },
            Message::IndexPull { origin, version: 9 },
            Message::Heard {
                origin,
                heartbeat: 1 << 40,
                version: 0,
            },
        ];
        for message in evidence {
            let mut a = replica("a", Config::default());
            hear(&mut a, 0, &id("b"), &beat(1));
            hear(&mut a, 10, &id("b"), &message);
            assert_eq!(*a.own.id() != id("a"), is_reborn, "{message:?}");
        }
    }
}

const LAST: u64 = OP_MAX - 1;

/// Messages about replicas whose numbers are the last ones that the format has.
fn last_messages() -> Vec<Message> {
    let mut set = PartitionSet::new(Shape::default());
    set.toggle(PARTITION);
    let row = Row {
        partition: PARTITION,
        position: Position {
            life: LAST,
            clock: LAST,
            fingerprint: u64::MAX,
        },
    };
    vec![
        Message::Beat(Beat {
            heartbeat: LAST - 1,
            seq: LAST,
            version: LAST,
            set_hash: u64::MAX,
            sum: u64::MAX,
            toggles: vec![PARTITION],
        }),
        Message::Index {
            from: LAST - 1,
            toggles: vec![PARTITION],
        },
        Message::IndexFull { version: LAST, set },
        Message::Rows {
            from: Mark {
                seq: LAST - 1,
                partition: PARTITION,
            },
            to: Mark {
                seq: LAST,
                partition: PARTITION,
            },
            rows: List::new(Shape::default(), [row]),
        },
        Message::Superseded {
            greater: ReplicaId::new("c", LAST, u32::MAX).unwrap(),
            ago_ms: u32::MAX,
        },
        Message::Goodbye { heartbeat: LAST },
    ]
}

/// Messages about a partition whose numbers are the last ones that the format has.
fn last_data() -> [Data; 6] {
    [
        Data::Row(Position {
            life: LAST,
            clock: LAST,
            fingerprint: u64::MAX,
        }),
        Data::Delta(Delta {
            life: LAST,
            from: LAST - 1,
            to: LAST,
            records: Bytes::new(),
        }),
        Data::Repair(Repair {
            life: LAST,
            base: LAST - 1,
            to: LAST,
            nonce: u32::MAX,
            content: Bytes::new(),
        }),
        Data::Same(Same {
            life: LAST,
            clock: LAST,
            fingerprint: u64::MAX,
            version: LAST,
            nonce: u32::MAX,
        }),
        Data::Part(Part {
            life: LAST,
            base: 0,
            to: LAST,
            nonce: u32::MAX,
            reply: u32::MAX,
            index: u32::MAX - 1,
            count: u32::MAX,
            content: Bytes::new(),
        }),
        Data::TooLong(TooLong {
            len: u64::MAX,
            nonce: u32::MAX,
        }),
    ]
}

#[test]
fn the_last_numbers_of_others_change_nothing_of_its_own() {
    let b = ReplicaId::new("b", LAST, u32::MAX).unwrap();
    let mut forwards = last_messages();
    forwards.extend(last_data().map(|data| {
        Message::Data(Answer {
            partition: PARTITION,
            data,
        })
    }));
    let backwards = forwards.iter().rev().cloned().collect();
    for messages in [forwards, backwards] {
        let mut a = replica("a", Config::default());
        write(&mut a, 10);
        let mut ms = 10;
        for message in &messages {
            hear(&mut a, ms, &b, message);
            ms += 700;
            a.handle_timeout(Duration::from_millis(ms));
        }
        assert_eq!((a.own.id(), a.own.is_speaking()), (&id("a"), true));
        hear(&mut a, ms, &id("c"), &beat(1));
        while a.poll_action().is_some() {}
        hear(&mut a, ms, &id("c"), &first_question(&id("a")));
        let serve = std::iter::from_fn(|| a.poll_action());
        let mut serve = serve.filter(|action| matches!(action, Action::Serve(_)));
        assert!(serve.next().is_some(), "it serves what it has");
    }
}

#[test]
fn another_replica_with_this_handle_makes_the_later_one_take_another() {
    for (incarnation, is_reborn) in [(0, true), (2, false)] {
        let mut a = replica("a", Config::default());
        let other = ReplicaId::new("b", incarnation, 1).unwrap();
        let from = "b".into();
        for _ in 0..3 {
            a.meet_collision(&from, &other);
        }
        assert_eq!(*a.own.id() != id("a"), is_reborn);
        a.handle_timeout(Duration::from_secs(61));
        let mut reports = events(&mut a);
        reports.retain(|event| matches!(event, Event::HandleCollision { .. }));
        let report = |count| Event::HandleCollision {
            refused: other.clone(),
            count,
        };
        assert_eq!(reports, [report(1), report(2)]);
    }
}

#[test]
fn an_answer_that_no_frame_takes_is_reported_on_both_sides() {
    let config = Config {
        frame_max: 1 << 10,
        ..Config::default()
    };
    let mut a = replica("a", config);
    write(&mut a, 2_000);
    let pushed = sent(&mut a);
    let is_delta = |message: &Message| matches!(message, Message::Data(_));
    assert!(
        !pushed.iter().any(is_delta),
        "the push was too long: {pushed:?}"
    );
    hear(&mut a, 10, &id("b"), &beat(1));
    let pull = first_question(&id("a"));
    events(&mut a);
    for _ in 0..2 {
        assert!(hear(&mut a, 10, &id("b"), &pull).is_empty());
        let Some(Action::Serve(serve)) = a.poll_action() else {
            panic!("it has something to serve");
        };
        a.answer_pull(Served {
            reply: serve.reply,
            partition: PARTITION,
            found: Found::Data(Data::Repair(Repair {
                life: serve.life,
                base: 0,
                to: 1,
                nonce: serve.nonce,
                content: vec![0; 2_000].into(),
            })),
        });
        let told = TooLong {
            len: 2_000,
            nonce: 7,
        };
        let answer = Answer {
            partition: PARTITION,
            data: Data::TooLong(told),
        };
        assert_eq!(sent(&mut a), [Message::Data(answer)]);
    }
    let partition = PARTITION;
    let report = |count| Event::AnswerTooLong {
        partition,
        bytes: 2_000,
        to: "b".into(),
        count,
    };
    let mut reports = events(&mut a);
    a.handle_timeout(Duration::from_secs(61));
    reports.extend(events(&mut a));
    reports.retain(|event| matches!(event, Event::AnswerTooLong { .. }));
    assert_eq!(reports, [report(1), report(1)], "{reports:?}");
}

/// Before, a question could go out before the Hello: its receiver dropped it.
#[test]
fn a_node_asks_nothing_before_its_hello() {
    let mut a = Replica::new(id("a"), Config::default(), 1);
    let first = Message::Beat(Beat {
        heartbeat: 1,
        seq: 1,
        version: 9,
        set_hash: 0,
        sum: 7,
        toggles: vec![PARTITION],
    });
    let row = Row {
        partition: PARTITION,
        position: Position {
            life: 9,
            clock: 5,
            fingerprint: 7,
        },
    };
    let rows = Message::Rows {
        from: Mark::of_beat(0),
        to: Mark::of_beat(1),
        rows: List::new(Shape::default(), [row]),
    };
    for message in [&first, &rows] {
        assert_eq!(hear(&mut a, 0, &id("b"), message), []);
    }
    assert_eq!(a.poll_timeout(), Some(Duration::ZERO));
    a.handle_timeout(Duration::ZERO);
    let sent = sent(&mut a);
    assert!(matches!(sent[0], Message::Hello { .. }), "{sent:?}");
    let is_pull = |message: &Message| matches!(message, Message::Pull { .. });
    assert!(sent.iter().any(is_pull), "{sent:?}");
}

#[test]
fn rows_beyond_what_is_held_are_asked_for_and_rows_below_once_a_beat() {
    let mut a = replica("a", Config::default());
    let b = id("b");
    hear(&mut a, 0, &b, &beat(1));
    let row = Row {
        partition: PARTITION,
        position: crate::replica::message::Position {
            life: 1,
            clock: 5,
            fingerprint: 7,
        },
    };
    let rows = Message::Rows {
        from: Mark::of_beat(0),
        to: Mark::of_beat(1),
        rows: List::new(Shape::default(), [row]),
    };
    let asked = hear(&mut a, 10, &b, &rows);
    assert!(matches!(asked[..], [Message::Pull { .. }]), "{asked:?}");
    assert!(
        hear(&mut a, 20, &b, &rows).is_empty(),
        "it is asked already"
    );
}

/// Before, only the end of the life that nobody had seen was told.
#[test]
fn the_goodbye_of_a_later_life_ends_the_one_that_is_up() {
    let mut a = replica("a", Config::default());
    hear(&mut a, 0, &id("b"), &beat(1));
    let up = events(&mut a);
    assert!(up.contains(&Event::ReplicaUp(id("b"))), "{up:?}");
    let later = ReplicaId::new("b", 2, 9).unwrap();
    hear(&mut a, 10, &later, &Message::Goodbye { heartbeat: 3 });
    assert_eq!(events(&mut a), [Event::ReplicaLeft(id("b"))]);
    assert_eq!(a.replicas().count(), 0);
}

#[test]
fn a_sign_reaches_users_of_replicas_that_know_its_sender() {
    let signal = |topic: &str| Signal {
        topic: topic.to_owned(),
        key: b"ann".to_vec(),
        kind: 1,
        ttl_ms: 3_000,
        payload: b"typing".to_vec(),
    };
    let mut a = replica("a", Config::default());
    let mut b = replica("b", Config::default());
    let too_long = SignalError::TopicTooLong { len: 257, max: 256 };
    assert_eq!(a.signal(signal(&"x".repeat(257))), Err(too_long));
    for (key, payload) in [(257, 0), (256, 257)] {
        let long = Signal {
            key: vec![b'k'; key],
            payload: vec![b'p'; payload],
            ..signal("room")
        };
        let (len, max) = (257, 256);
        let too_long = if payload == 0 {
            SignalError::KeyTooLong { len, max }
        } else {
            SignalError::PayloadTooLong { len, max }
        };
        assert_eq!(a.signal(long), Err(too_long));
    }
    sent(&mut a);
    a.signal(signal("room")).unwrap();
    let signs = sent(&mut a);
    let [message] = &signs[..] else {
        panic!("{signs:?}");
    };
    hear(&mut b, 0, &id("a"), message);
    let is_signal = |event: &Event| matches!(event, Event::Signal { .. });
    assert!(!events(&mut b).iter().any(is_signal));
    hear(&mut b, 0, &id("a"), &beat(1));
    events(&mut b);
    for _ in 0..2 {
        hear(&mut b, 0, &id("a"), message);
    }
    let from = id("a");
    let signal = signal("room");
    assert_eq!(events(&mut b), [Event::Signal { from, signal }]);
}
