//! A database that no node can write: what is refused says why, and all goes on when it can be written again.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::chown,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    agreement::Expected,
    nodes::Cluster,
    postgres::{Postgres, postgres_user},
    site::Site,
    until,
    viewer::{User, Viewer},
};

/// Two users on two nodes, and what was acknowledged.
struct Scene {
    cluster: Cluster,
    users: Vec<User>,
    viewers: Vec<Viewer>,
    room: String,
    stored: Vec<(i64, String)>,
    tries: usize,
}

impl Scene {
    async fn set_up(cluster: Cluster) -> Self {
        let first = cluster.nodes[0].address.clone();
        let mut users = Vec::new();
        let mut viewers = Vec::new();
        let mut room = String::new();
        for (name, node) in ["ada", "bob"].iter().zip(&cluster.nodes) {
            let user = User::register(&first, name).await;
            let (_, rooms) = user.call(&first, "GET", "/rooms", Value::Null).await;
            room = rooms["data"][0]["id"].as_str().unwrap().to_owned();
            let join = format!("/rooms/{room}/join");
            assert_eq!(user.call(&first, "POST", &join, json!({})).await.0, 200);
            viewers.push(Viewer::enter(&node.address, &user, &room).await);
            users.push(user);
        }
        Self {
            cluster,
            users,
            viewers,
            room,
            stored: Vec::new(),
            tries: 0,
        }
    }

    /// Posts as both users, by socket. Returns the reasons of the refusals.
    async fn post(&mut self) -> Vec<String> {
        let mut refusals = Vec::new();
        for viewer in &mut self.viewers {
            self.tries += 1;
            // Long, so that it needs a page of its own.
            let content = format!("{} {}", self.tries, "é".repeat(3_000));
            let reply = viewer
                .push("new_message", json!({ "content": content }))
                .await;
            if reply["status"] == "ok" {
                let seq = reply["response"]["seq"].as_i64().unwrap();
                self.stored.push((seq, content));
            } else {
                let reason = reply["response"]["reason"].as_str().unwrap();
                refusals.push(reason.to_owned());
            }
        }
        refusals.retain(|reason| reason != "rate_limited");
        refusals
    }

    /// Posts until both users are refused, each time for this reason, and all nodes say so.
    async fn is_refused(&mut self, reason: &str) {
        loop {
            let refusals = self.post().await;
            assert!(refusals.iter().all(|found| found == reason), "{refusals:?}");
            if refusals.len() == self.viewers.len() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        for node in &self.cluster.nodes {
            until("the node says that it cannot write", || async {
                let (status, said) = node.probe("readyz").await?;
                (status == 503 && said.contains(reason)).then_some(())
            })
            .await;
            assert_eq!(node.probe("healthz").await.unwrap().0, 200);
        }
        // What is read goes on, and who is there is shown.
        let path = format!("/rooms/{}/messages?limit=1", self.room);
        for (user, node) in self.users.iter().zip(&self.cluster.nodes) {
            assert_eq!(
                user.call(&node.address, "GET", &path, Value::Null).await.0,
                200
            );
        }
        let all: Vec<&User> = self.users.iter().collect();
        for viewer in &self.viewers {
            viewer.sees(&all).await;
        }
    }

    /// Posts until both users succeed again, and compares all nodes.
    async fn recovers(mut self) {
        let enough = self.stored.len() + 2 * self.viewers.len();
        while self.stored.len() < enough {
            self.post().await;
            sleep(Duration::from_millis(200)).await;
        }
        for node in &self.cluster.nodes {
            until("the node is ready", || async {
                (node.probe("readyz").await?.0 == 200).then_some(())
            })
            .await;
        }
        self.stored.sort();
        let names = ["ada", "bob"].map(str::to_owned);
        let members = self.users.iter().zip(names);
        let expected = Expected {
            room: &self.room,
            members: members.map(|(user, name)| (user, name, true)).collect(),
            messages: self.stored,
        };
        expected.is_shown_by_all(&self.cluster).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_becomes_read_only_is_named_and_written_again() {
    let (_site, webhook) = Site::start().await;
    let mut scene = Scene::set_up(Cluster::start(&webhook).await).await;
    assert_eq!(scene.post().await, Vec::<String>::new());
    // As a standby is, to which the address was moved.
    set_read_only(&scene.cluster.postgres, "on").await;
    scene.is_refused("storage read-only").await;
    set_read_only(&scene.cluster.postgres, "off").await;
    scene.recovers().await;
}

async fn set_read_only(postgres: &Postgres, value: &str) {
    let set = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
    postgres.run(set).await;
    postgres.run("SELECT pg_reload_conf()").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_written_again() {
    let (_site, webhook) = Site::start().await;
    let postgres = Postgres::start().await;
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(why) => return println!("NOT RUN: no file system can be mounted here: {why}"),
    };
    let location = disk.tablespace();
    let sql = format!("CREATE TABLESPACE small LOCATION '{}'", location.display());
    postgres.run(sql).await;
    let database = postgres.create_in("small").await;
    let cluster = Cluster::start_on(postgres, database, &webhook).await;
    let mut scene = Scene::set_up(cluster).await;
    assert_eq!(scene.post().await, Vec::<String>::new());
    disk.fill();
    scene.is_refused("storage full").await;
    disk.free();
    scene.recovers().await;
    drop(disk);
}

/// A file system in memory, for the tables of a database.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m", "headcount-test"]);
        let output = mount.arg(disk.0.path()).output();
        let output = output.map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        fs::create_dir(disk.tablespace()).unwrap();
        if let Some((user, group)) = postgres_user() {
            chown(disk.tablespace(), Some(user), Some(group)).unwrap();
        }
        Ok(disk)
    }

    fn tablespace(&self) -> PathBuf {
        self.0.path().join("tables")
    }

    fn fill(&self) {
        let mut file = File::create(self.0.path().join("ballast")).unwrap();
        for size in [64 << 10, 4 << 10] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
