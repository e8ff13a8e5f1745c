//! A Redis sorted set beside the list.

use std::time::{Duration, Instant};

use headcount_benches::list::Rng;
use headcount_benches::redis::Redis;
use headcount_benches::table::Table;

const WHO: &str = "Redis ZSET";

/// Returns the time of one of `count` operations, by the clock: another process does the work.
fn time_each(count: usize, work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed() / count.max(1) as u32
}

/// Adds the lines of Redis; prints a note and skips them without a redis-server.
pub(crate) fn run(n: usize, table: &mut Table) {
    let Some(mut server) = Redis::start() else {
        println!("redis-server is not installed: no Redis in the table");
        return;
    };
    let mut rng = Rng::new(1);
    let empty = server.memory();
    let score = |rng: &mut Rng| rng.next_u64() >> 12;
    server.run((0..n).map(|id| format!("ZADD z {} {id}\r\n", score(&mut rng))));
    let used = server.memory().saturating_sub(empty);
    table.note("memory a member", "B", WHO, used as f64 / n as f64);
    let count = (n / 4).clamp(1_000, 50_000);
    for _ in 0..3 {
        let moves: Vec<String> = (0..count)
            .map(|_| format!("ZADD z {} {}\r\n", score(&mut rng), rng.below(n)))
            .collect();
        let each = time_each(count, || server.run(moves.into_iter()));
        table.time("upsert that moves", WHO, each);
        let ranks: Vec<String> = (0..count)
            .map(|_| format!("ZRANK z {}\r\n", rng.below(n)))
            .collect();
        let each = time_each(count, || server.run(ranks.into_iter()));
        table.time("index_of (pair: get by key)", WHO, each);
        let pages: Vec<String> = (0..count / 50)
            .map(|_| rng.below(n))
            .map(|from| format!("ZRANGE z {from} {}\r\n", from + 99))
            .collect();
        let each = time_each(pages.len(), || server.run(pages.into_iter()));
        table.time("slice of 100", WHO, each);
    }
}
