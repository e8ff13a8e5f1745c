//! The thread-safe presence.

use headcount::{Presence, PresenceConfig, Put, ReplicaId};

fn presence(name: &str) -> Presence {
    Presence::new(
        ReplicaId::new(name, 1, 0).unwrap(),
        PresenceConfig::default(),
    )
}

#[test]
fn many_threads_track_and_read_at_once() {
    let p = presence("a");
    std::thread::scope(|s| {
        for thread in 0..4 {
            let p = &p;
            s.spawn(move || {
                for i in 0..500 {
                    let topic = format!("room {}", i % 50);
                    p.track(&Put::new(&topic, &format!("{thread}/{i}"), "conn"))
                        .unwrap();
                    assert!(p.count(&topic) > 0);
                }
            });
        }
    });
    assert_eq!(p.len(), 2_000);
    assert_eq!(
        p.take_diff().iter().map(|t| t.joins.len()).sum::<usize>(),
        2_000
    );
    assert_eq!(p.untrack_owner("conn"), 2_000);
    assert_eq!(
        p.take_diff().iter().map(|t| t.leaves.len()).sum::<usize>(),
        2_000
    );
}
