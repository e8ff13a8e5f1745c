//! Tests of the presence of several nodes.

use headcount::runtime::memory::Network;

use super::*;

const ROOM: &str = "room:0192f0c8-7a3b-7000-8000-000000000001";

/// The presences of three nodes that know each other.
async fn cluster() -> [RoomPresence; 3] {
    let network = Network::new();
    let nodes = ["a", "b", "c"].map(|name| {
        let id = ReplicaId::generate(name, SystemTime::now()).expect("a short name");
        let transport = network.join(name);
        RoomPresence::of_node(Node::start(
            id,
            RoomPresence::config(Duration::from_secs(5)),
            transport,
        ))
    });
    for node in &nodes {
        node.synced().await;
    }
    nodes
}

fn put(presence: &RoomPresence, key: &str, owner: &str, status: Status) {
    let shown = presence.put(&NewSession {
        topic: ROOM,
        key,
        owner,
        profile: b"{}",
        status,
    });
    shown.expect("a good session");
}

/// Waits two heartbeats, after which the counts of all nodes have arrived.
async fn beats() {
    tokio::time::sleep(Duration::from_millis(2_500)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_on_which_nobody_has_a_room_open_counts_it_and_holds_nothing_of_it() {
    let [a, b, c] = cluster().await;
    assert_eq!(c.online_len(ROOM).await, 0);
    put(&a, "ada", "1", Status::Online);
    put(&a, "ada", "2", Status::Idle);
    put(&b, "bob", "3", Status::Dnd);
    put(&b, "eve", "4", Status::Invisible);
    beats().await;
    assert_eq!(c.online_len(ROOM).await, 2);
    assert_eq!((c.len(), c.presence().topics().len()), (0, 0));

    put(&b, "eve", "4", Status::Online);
    beats().await;
    assert_eq!(c.online_len(ROOM).await, 3);
    put(&b, "bob", "3", Status::Invisible);
    assert!(a.untrack(ROOM, "ada", "1"));
    beats().await;
    assert_eq!(c.online_len(ROOM).await, 2);
    assert_eq!(c.len(), 0);

    // One node goes without a word, the other with one.
    drop(b);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(c.online_len(ROOM).await, 1);
    a.leave().await;
    beats().await;
    assert_eq!(c.online_len(ROOM).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_opens_a_room_sees_all_of_it() {
    let [a, b, _c] = cluster().await;
    put(&a, "ada", "1", Status::Online);
    put(&a, "eve", "2", Status::Online);
    beats().await;
    let mut followed = b.follow(ROOM).await;
    let mut take = || -> (usize, usize) {
        let taken = followed.iter_mut().flat_map(|c| b.take_changes(c));
        taken.fold((0, 0), |(joins, leaves), diff| {
            (joins + diff.joins.len(), leaves + diff.leaves.len())
        })
    };
    assert_eq!(take(), (2, 0));
    assert_eq!(b.keys(ROOM), ["ada", "eve"]);

    // A user with an invisible session anywhere is seen nowhere.
    put(&b, "eve", "3", Status::Invisible);
    beats().await;
    assert_eq!(take(), (1, 0));
    assert!(b.sessions(ROOM, "eve").is_empty());
    assert_eq!(b.sessions(ROOM, "ada").len(), 1);
    put(&a, "ada", "1", Status::Invisible);
    beats().await;
    assert_eq!(take(), (1, 1));
    assert!(b.sessions(ROOM, "ada").is_empty());
    assert!(a.untrack(ROOM, "ada", "1"));
    assert!(!a.untrack(ROOM, "ada", "1"));
    beats().await;
    assert_eq!(take(), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_status_of_a_user_is_known_on_every_node() {
    let [a, b, c] = cluster().await;
    let user = Uuid::from_u128(7);
    assert_eq!(c.status_of(user), Status::Offline);
    a.enter_user(user, "default", Status::Idle);
    beats().await;
    assert_eq!(c.status_of(user), Status::Idle);
    b.enter_user(user, "default", Status::Invisible);
    beats().await;
    assert_eq!(c.status_of(user), Status::Offline);
    b.exit_user(user);
    beats().await;
    assert_eq!(c.status_of(user), Status::Idle);
}
