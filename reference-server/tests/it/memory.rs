//! The memory of the program.

use std::fs;

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::{
    cli::{program, read_until, terminate},
    support::http,
};

/// The memory that many sign-ins may leave behind, in KiB: that of the hashes at once, and some more.
const LEFT_KIB_MAX: u64 = 100 << 10;

/// Returns the resident memory of a process, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// Each hash took 19 MiB of its own, which the allocator kept for one of many threads.
#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_leave_no_memory_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = program(&dir, &["--port", "0", "--auth-per-minute", "10000"])
        .spawn()
        .unwrap();
    let said = read_until(&mut child, &["http://"]);
    let (_, address) = said.split_once("http://").unwrap();
    let address = address.lines().next().unwrap();
    let client = http::client();
    let register = async |n: usize| {
        let url = format!("http://{address}/api/v1/auth/register");
        let body = json!({ "username": format!("user{n}"), "password": "correct horse" });
        let answer = client.post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 201);
    };
    register(0).await;
    let before = resident_kib(child.id());
    stream::iter(1..=48).for_each_concurrent(16, register).await;
    let left = resident_kib(child.id()).saturating_sub(before);
    assert!(terminate(child).status.success());
    assert!(left < LEFT_KIB_MAX, "{left} KiB");
}
