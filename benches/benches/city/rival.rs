//! The same city in Redis: a sorted set for each group, ordered by name; a status change is ZREM,
//! ZADD and PUBLISH; each viewer reads its window again in every tick.

use std::time::{Duration, Instant};

use headcount::Status;
use headcount_benches::list::Rng;
use headcount_benches::people::Nicknames;
use headcount_benches::redis::Redis;
use headcount_benches::table::Table;

use crate::{ONLINE_STATUSES, TICK_CHANGES, VIEWERS, WINDOW_ROWS};

const WHO: &str = "Redis";
const TICKS: usize = 20;
const EACH: &str = "us a change";

/// Returns a member of a sorted set: equal scores are ordered by these bytes.
fn member(names: &Nicknames, user: u64) -> String {
    format!("{}|{user}", names.of(user))
}

fn zadd(group: Status, member: &str) -> String {
    let len = member.len();
    format!(
        "*4\r\n$4\r\nZADD\r\n$9\r\n{}\r\n$1\r\n0\r\n${len}\r\n{member}\r\n",
        key(group)
    )
}

fn zrem(group: Status, member: &str) -> String {
    let len = member.len();
    format!(
        "*3\r\n$4\r\nZREM\r\n$9\r\n{}\r\n${len}\r\n{member}\r\n",
        key(group)
    )
}

/// Returns the name of a group's set, 9 bytes.
fn key(group: Status) -> String {
    format!("group:{:03}", group as u8)
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Adds the lines of Redis; prints a note and skips them without a redis-server.
pub(crate) fn run(names: &Nicknames, online: usize, table: &mut Table) {
    let Some(mut redis) = Redis::start() else {
        println!("redis-server is not installed: no Redis in the table");
        return;
    };
    let empty = redis.memory();
    let load = (0..names.len() as u64).map(|user| {
        let group = if user < online as u64 {
            Status::Online
        } else {
            Status::Offline
        };
        zadd(group, &member(names, user))
    });
    let took = timed(|| redis.run(load));
    let each = took.as_secs_f64() * 1e6 / names.len() as f64;
    table.note("load", "us a member", WHO, each);
    let used = redis.memory().saturating_sub(empty) as f64;
    table.note("list", "B a member", WHO, used / names.len() as f64);

    let mut statuses = vec![Status::Online; online];
    let mut rng = Rng::new(3);
    for changes in TICK_CHANGES {
        let writes: Vec<String> = (0..TICKS * changes)
            .map(|_| {
                let user = rng.below(online);
                let new = ONLINE_STATUSES[rng.below(3)];
                let old = std::mem::replace(&mut statuses[user], new);
                let member = member(names, user as u64);
                let publish = format!("PUBLISH city {user}\r\n");
                [zrem(old, &member), zadd(new, &member), publish].concat()
            })
            .collect();
        let wrote = timed(|| redis.run_groups(writes.into_iter(), 3));
        let reads: Vec<String> = (0..TICKS * VIEWERS)
            .map(|_| {
                let from = rng.below(online.saturating_sub(WINDOW_ROWS).max(1) / 3 + 1);
                let to = from + WINDOW_ROWS - 1;
                format!("ZRANGE {} {from} {to}\r\n", key(Status::Online))
            })
            .collect();
        let read = timed(|| redis.run(reads.into_iter()));
        let each = |took: Duration| took.as_secs_f64() * 1e6 / (TICKS * changes) as f64;
        let what = format!("ticks of {changes}");
        table.note(&format!("{what}: write"), EACH, WHO, each(wrote));
        table.note(&format!("{what}: {VIEWERS} viewers"), EACH, WHO, each(read));
        table.note(
            &format!("{what}: all but replicate"),
            EACH,
            WHO,
            each(wrote + read),
        );
    }
}
