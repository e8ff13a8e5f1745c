//! Tests of the presence of several nodes.

use headcount::runtime::memory::Network;

use super::*;

const DOWN_AFTER: Duration = Duration::from_secs(5);
const ROOM: &str = "room:0192f0c8-7a3b-7000-8000-000000000001";

/// The presences of three nodes that know each other.
async fn cluster() -> [RoomPresence; 3] {
    cluster_on(&Network::new()).await
}

async fn cluster_on(network: &Network) -> [RoomPresence; 3] {
    let nodes = ["a", "b", "c"].map(|name| {
        let id = ReplicaId::generate(name, SystemTime::now()).expect("a short name");
        let node = Node::start(
            id,
            RoomPresence::config(DOWN_AFTER, None),
            network.join(name),
        );
        RoomPresence::of_node(node, DOWN_AFTER)
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

/// The node that reports was killed, and what it had not reported nobody did.
#[tokio::test(start_paused = true)]
async fn what_the_oldest_node_may_not_have_reported_the_next_one_does_under_the_same_id() {
    let [a, b, c] = cluster().await;
    for node in [&a, &b, &c] {
        node.take_transitions();
    }
    let [ada, bob] = [1, 2].map(Uuid::from_u128);
    c.enter_user(ada, "default", Status::Online);
    beats().await;
    let by_a = a.take_transitions();
    let [came] = &by_a[..] else {
        panic!("{by_a:?}");
    };
    assert_eq!((came.id, came.is_on), (ada, true));
    assert!(b.take_transitions().is_empty() && c.take_transitions().is_empty());
    drop(a);
    c.exit_user(ada);
    c.enter_user(bob, "default", Status::Online);
    tokio::time::sleep(2 * DOWN_AFTER).await;
    let by_b = b.take_transitions();
    let mut seen: Vec<_> = by_b.iter().map(|t| (t.id, t.is_on)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [(ada, false), (ada, true), (bob, true)]);
    assert_eq!(by_b[0].event, came.event);
    assert!(b.take_transitions().is_empty() && c.take_transitions().is_empty());
}

/// What a node holds goes when it falls silent, and comes back as it was: as another event.
#[tokio::test(start_paused = true)]
async fn a_user_of_a_node_that_was_cut_off_comes_back_under_another_id() {
    let network = Network::new();
    let [a, _b, c] = cluster_on(&network).await;
    a.take_transitions();
    let ada = Uuid::from_u128(1);
    c.enter_user(ada, "default", Status::Online);
    beats().await;
    let mut seen = a.take_transitions();
    network.cut("a", "c");
    network.cut("b", "c");
    tokio::time::sleep(2 * DOWN_AFTER).await;
    seen.extend(a.take_transitions());
    network.heal();
    tokio::time::sleep(2 * DOWN_AFTER).await;
    seen.extend(a.take_transitions());
    let found: Vec<_> = seen.iter().map(|t| (t.id, t.is_on)).collect();
    assert_eq!(found, [(ada, true), (ada, false), (ada, true)]);
    assert_ne!(seen[0].event, seen[2].event);
}
