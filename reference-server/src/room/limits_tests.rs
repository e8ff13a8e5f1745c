//! Tests of the lists of limited rooms: what clients show after random changes is what a naive filter and sort says.
//! `SEED=<number>` repeats one run.

#[path = "limits_model.rs"]
mod model;
#[path = "limits_scene.rs"]
mod scene;

use std::time::{Duration, Instant};

use headcount::{Status, member_list::BundleFormat};

use model::{Held, USERS};
use scene::{Scene, Shown};

#[tokio::test]
async fn clients_of_limited_rooms_show_whom_the_roles_admit() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut scene = Scene::new(seed).await;
    for round in 0..80 {
        let mut what = format!("SEED={seed} round {round}");
        for _ in 0..scene.rng.usize(1..4) {
            what += "; ";
            what += &scene.step().await;
        }
        scene.check(&what);
    }
    let resyncs: usize = scene.shown.iter().map(|shown| shown.resyncs).sum();
    assert_eq!(
        resyncs, 0,
        "windows moved to another list without being asked for"
    );
}

#[tokio::test]
async fn one_who_never_came_is_listed_while_it_has_the_role_and_equal_limits_share_a_list() {
    let mut scene = Scene::new(1).await;
    scene.create("Crew", "#aa0000", false).await;
    scene.create("Mates", "", false).await;
    scene.limit(0, &[0]).await;
    scene.limit(1, &[1]).await;
    scene.check("two limits");
    let rows = |scene: &Scene, at: usize| scene.shown[at].rows("c:0");
    scene.hold(0, 4, true).await;
    scene.check("bob has the role");
    let of_owner = ["staff (1)", "ada online "];
    let with_bob = [&of_owner[..], &["offline (1)", "bob offline #aa0000"]].concat();
    assert_eq!(rows(&scene, 0), with_bob);
    assert_eq!(rows(&scene, 2), of_owner);
    scene.choose(4, Some(Status::Invisible));
    scene.check("bob is invisible");
    assert_eq!(rows(&scene, 1), with_bob);
    scene.choose(4, Some(Status::Dnd));
    scene.check("bob is busy");
    assert_eq!(rows(&scene, 1)[2..], ["online (1)", "bob dnd #aa0000"]);
    scene.limit(1, &[0]).await;
    scene.limit(2, &[0]).await;
    scene.check("equal limits");
    let [(_, table)] = &scene.hub.tables.all()[..] else {
        panic!("one server has one table");
    };
    assert_eq!(table.sizes(), (2, 1));
    assert_eq!(rows(&scene, 4), rows(&scene, 0));
    scene.hold(0, 4, false).await;
    scene.check("bob has no role");
    assert_eq!(rows(&scene, 0), of_owner);
}

#[tokio::test]
async fn two_hundred_roles_are_groups_and_give_their_attributes_back() {
    let mut scene = Scene::new(1).await;
    // A list of so many groups has no windows of searches over all of them.
    scene.shown.iter_mut().for_each(Shown::close_search);
    for n in 0..200 {
        let colour = ["", "#0000aa"][n % 2];
        scene
            .create(&format!("{}{n}", "長い".repeat(9)), colour, n % 3 > 0)
            .await;
    }
    for user in 0..USERS.len() {
        scene.choose(user, Some(Status::Online));
        for role in 0..8 {
            scene.hold((user * 41 + role * 7) % 200, user, true).await;
        }
    }
    scene
        .limit(0, &(0..200).step_by(2).collect::<Vec<_>>())
        .await;
    scene.limit(1, &[123, 199]).await;
    let rows = |scene: &Scene, at: usize| scene.shown[at].rows("c:0");
    let check = |scene: &mut Scene| {
        scene.beat();
        scene.shown.iter_mut().for_each(Shown::take);
        for at in [0, 2] {
            assert_eq!(rows(scene, at), scene.model.rows(at / 2, ""));
        }
    };
    check(&mut scene);
    // Roles that are made when others are gone mean nothing of those.
    for n in 0..40 {
        scene.delete(1).await;
        scene.create(&format!("next {n}"), "", false).await;
    }
    check(&mut scene);
    assert_eq!(scene.model.roles.len(), 200);
}

#[tokio::test]
async fn a_table_goes_with_the_last_limited_room() {
    let mut scene = Scene::new(1).await;
    scene.create("Crew", "", true).await;
    scene.hold(0, 4, true).await;
    scene.limit(0, &[0]).await;
    scene.limit(1, &[0]).await;
    scene.check("limited");
    scene.limit(0, &[]).await;
    scene.check("one is open to all again");
    for shown in scene.shown.drain(..) {
        shown.open.leave(&scene.hub.presence, shown.subscription);
    }
    assert_eq!(scene.hub.tables.all().len(), 1);
    scene.now += Duration::from_secs(3_600);
    scene.beat();
    assert!(scene.hub.open_rooms().is_empty());
    assert!(scene.hub.tables.all().is_empty());
    // The next visit loads it again, with what happened meanwhile.
    scene.choose(4, Some(Status::Idle));
    scene.hold(0, 5, true).await;
    scene.now = Instant::now();
    scene.watch(1, BundleFormat::Two).await;
    scene.check("opened again");
    assert_eq!(scene.shown[0].rows("c:0")[..2], ["Crew (1)", "bob idle "]);
}

#[tokio::test]
async fn missed_changes_are_read_from_the_database() {
    let mut scene = Scene::new(1).await;
    scene.create("Crew", "", true).await;
    scene.create("Mates", "#aa0000", false).await;
    for user in 1..6 {
        scene.hold(user % 2, user, true).await;
    }
    scene.limit(0, &[0]).await;
    scene.check("limited");
    // All of this happens on another node.
    let Scene {
        db,
        users,
        rooms,
        model,
        ..
    } = &mut scene;
    for (place, user, is_given) in [(0, 2, false), (0, 8, true), (1, 3, false), (0, 7, true)] {
        let Held { role, holders } = &mut model.roles[place];
        if is_given {
            holders.insert(user);
            db.give_role(role, users[user]).await.unwrap();
        } else {
            holders.remove(&user);
            db.take_role(role, users[user]).await.unwrap();
        }
    }
    db.limit_room(rooms[3].id, &[model.roles[1].role.id])
        .await
        .unwrap();
    model.limits[3] = Some([model.roles[1].role.id].into());
    let open = scene.hub.open_rooms();
    let server = open[0].server().unwrap();
    scene.hub.reload_table(&scene.db, server).await.unwrap();
    for room in open {
        scene.hub.reload_roles(&scene.db, &room).await.unwrap();
    }
    scene.check("repaired");
}
