//! The scenarios of the shared vectors with searches, and with more than one list.

use serde_json::{Value, json};

use crate::windows_scenarios::{head, record, through};

/// A step whose bundle is under way. Returns its number.
fn late(run: &mut dyn FnMut(Value) -> Value, step: Value) -> Value {
    let n = run(step)["n"].clone();
    assert!(!n.is_null(), "there is nothing to be late");
    n
}

/// Searches, with the answer at once, and returns the name of the window.
pub(crate) fn found(run: &mut dyn FnMut(Value) -> Value, search: &Value) -> String {
    let step = run(json!({ "search": search }));
    run(json!({"receive": step["n"]}));
    step["window"].as_str().expect("a name").to_owned()
}

fn do_then_tick(run: &mut dyn FnMut(Value) -> Value, ops: &Value, now: u64) {
    run(json!({ "do": ops }));
    through(run, json!({"tick": now}));
}

/// Two who are "Mo" in other letters, 55 with one beginning, and some who are not found.
fn searched() -> Vec<Value> {
    let mut ops = vec![
        json!(["upsert", "1", "mods", "Mo", 0]),
        json!(["upsert", "2", "mods", "MO", 1]),
        json!(["upsert", "3", "online", "mo", 0]),
        json!(["upsert", "4", "online", "m", 0]),
        json!(["upsert", "5", "online", "Mö", 0]),
        json!(["upsert", "6", "away", "Москва", 0]),
        json!(["upsert", "7", "away", "", 0]),
        json!(["upsert", "8", "away", "Mo", 0]),
    ];
    let more = (0..52).map(|at| {
        let id = (100 + at).to_string();
        json!(["upsert", id, "online", format!("Moritz {at:02}"), 0])
    });
    ops.extend(more);
    ops
}

pub(crate) fn search() -> Value {
    let about = "Searches: pages of the members whose names begin with a text, in all groups and in \
                 one, with the number of matches; frames are SYNC, at most one a second; a group \
                 that is renamed, collapsed and hidden; a lost rename, a late SYNC, and a \
                 third search, which is refused.";
    let head = head(&["mods", "online", "away"], &json!({}));
    record(about, &head, |run| {
        run(json!({ "do": searched() }));
        through(run, json!({"open": "g:mods:0:6"}));
        let all = found(run, &json!({"search": "mO"}));
        let second = found(
            run,
            &json!({"search": "Moritz", "group": "online", "page": 1}),
        );
        run(json!({"search": {"search": "Москва"}}));
        through(run, json!({ "resync": [second] }));
        // One more on the first page, so that a row slides to the second; then another name, which
        // comes only when the second is over.
        let joined = json!([["upsert", "9", "online", "Moritz 0", 0]]);
        do_then_tick(run, &joined, 1_000);
        do_then_tick(run, &json!([["status", "1", "idle"]]), 1_250);
        let stays = json!([["status", "4", "dnd"], ["rename", "2", "Om"]]);
        do_then_tick(run, &stays, 2_000);
        // The answer to the same text is a resync; the tick overtakes it.
        let answer = late(run, json!({"search": {"search": "MO"}}));
        do_then_tick(run, &json!([["remove", "100"], ["remove", "3"]]), 3_000);
        run(json!({ "receive": answer }));
        // One comes after the next one.
        run(json!({"do": [["set_group", "8", "mods"]]}));
        let old = late(run, json!({"tick": 4_000}));
        do_then_tick(run, &json!([["attrs", "8", 3]]), 5_000);
        run(json!({ "receive": old }));
        // Groups: the name of the window of one goes with its name.
        run(json!({"do": [["rename_group", "online", "on:line"]]}));
        let renamed = late(run, json!({"tick": 6_000}));
        do_then_tick(run, &json!([["status", "8", "idle"]]), 7_000);
        through(run, json!({"resync": [second, "g:mods:0:6", all]}));
        run(json!({ "receive": renamed }));
        do_then_tick(run, &json!([["collapse", "on:line", true]]), 8_000);
        do_then_tick(
            run,
            &json!([["upsert", "10", "on:line", "moritz", 0]]),
            9_000,
        );
        do_then_tick(run, &json!([["hide", "on:line", true]]), 10_000);
        do_then_tick(run, &json!([["hide", "on:line", false]]), 11_000);
        do_then_tick(run, &json!([["set_group", "101", "away"]]), 12_000);
        // Another text in place of both; the longest is cut.
        run(json!({ "close": all }));
        run(json!({"close": second.replace(":online", ":on:line")}));
        let long = found(run, &json!({"search": "ÿ".repeat(64)}));
        found(
            run,
            &json!({"search": "moritz 5", "group": "away", "page": 7}),
        );
        do_then_tick(
            run,
            &json!([["upsert", "11", "mods", "ÿ".repeat(99), 0]]),
            13_000,
        );
        run(json!({ "close": long }));
        do_then_tick(run, &json!([["remove", "11"]]), 14_000);
    })
}

pub(crate) fn switch() -> Value {
    let about = "Frame format 2, a client that goes from one list of a node to another, whose epoch \
                 is lower, and back: the old windows are closed, late bundles and answers of the \
                 old list are dropped, of two switches the last one counts, one that is refused is \
                 made again, and a connection ends before the answer comes and after.";
    let staff = json!({"list": "staff", "epoch": 1_780_000_000_000_u64, "groups": ["on duty"]});
    let more = json!({
        "format": 2, "node": "node-1", "epoch": 1_790_000_000_000_u64, "others": [staff],
    });
    let head = head(&["online", "offline"], &more);
    record(about, &head, |run| {
        let person = |id: u64, group: &str| {
            json!(["upsert", id.to_string(), group, format!("Name {id:02}"), 0])
        };
        let people: Vec<_> = (1..=9).map(|id| person(id, "online")).collect();
        run(json!({ "do": people }));
        let people: Vec<_> = (4..=6).map(|id| person(id, "on duty")).collect();
        run(json!({"do": people, "in": "staff"}));
        through(run, json!({"open": "c:0"}));
        through(run, json!({"open": "a:5:1:1"}));
        through(run, json!({"tick": 250}));

        // Of the old list, a bundle and an answer are late.
        run(json!({"do": [["status", "5", "idle"]]}));
        let pushed = late(run, json!({"tick": 500}));
        let answered = late(run, json!({"resync": ["c:0"]}));
        let entrance = late(run, json!({"switch": ["staff", ["c:0", "f:5:1:1"]]}));
        run(json!({ "receive": pushed }));
        run(json!({ "receive": answered }));
        run(json!({ "receive": entrance }));
        run(json!({ "receive": answered }));
        run(json!({ "receive": pushed }));
        run(json!({ "receive": pushed }));
        run(json!({ "receive": entrance }));
        through(run, json!({"resync": ["c:0", "f:5:1:1"]}));

        // Both lists change; the viewer gets those of its own.
        run(json!({"do": [["rename", "4", "Zoë"], ["remove", "5"]]}));
        run(json!({"do": [["rename", "4", "Aë"], ["status", "5", "dnd"]], "in": "staff"}));
        through(run, json!({"tick": 1_500}));
        run(json!({"do": [["remove", "1"]]}));
        run(json!({"tick": 1_750}));

        // Two switches: the answer to the first comes last.
        let first = late(run, json!({"switch": ["room:7", ["c:0", "g:online:0:3"]]}));
        let second = late(run, json!({"switch": ["staff", ["c:0"]]}));
        run(json!({ "receive": first }));
        run(json!({ "receive": second }));
        run(json!({ "receive": first }));
        // Refused: no such member here. The viewer stays, and the client asks again.
        run(json!({"switch": ["room:7", ["c:0", "a:999:1:1"]]}));
        run(json!({"do": [["touch", "6"]], "in": "staff"}));
        through(run, json!({"tick": 2_500}));
        through(run, json!({"switch": ["room:7", ["c:0"]]}));
        let window = found(run, &json!({"search": "name 0"}));
        through(run, json!({"tick": 3_500}));

        // The connection ends with the answer to a switch under way, and its repetition is lost.
        let lost = late(run, json!({"switch": ["staff", ["c:0", "f:4:0:1"]]}));
        let first = late(run, json!({"reconnect": null}));
        run(json!({ "receive": lost }));
        run(json!({"do": [["status", "4", "idle"]], "in": "staff"}));
        through(run, json!({"tick": 4_500}));
        let again = late(run, json!({"reconnect": null}));
        run(json!({ "receive": first }));
        run(json!({ "receive": again }));
        run(json!({ "receive": lost }));

        // Away after a switch: rows of the list come as one DELTA, a search whole.
        through(run, json!({ "switch": ["room:7", ["c:0", window]] }));
        through(run, json!({"tick": 5_500}));
        run(json!({"do": [["status", "7", "dnd"], ["remove", "8"]]}));
        run(json!({"tick": 6_500}));
        through(run, json!({"reconnect": null}));
        through(run, json!({"switch": ["staff", []]}));
        through(run, json!({"open": "c:0"}));
    })
}

pub(crate) fn renamed_list() -> Value {
    let about = "Frame format 2, a list that gets another name after the client has switched to it. \
                 The client closes its only window while a bundle of that name is under way, and \
                 opens it again; later its request is refused, because the window is closed, \
                 and it opens it once more. The answers are lost: each time it asks again.";
    let staff = json!({"list": "staff", "epoch": 1_780_000_000_000_u64, "groups": ["on duty"]});
    let more = json!({
        "format": 2, "node": "node-1", "epoch": 1_790_000_000_000_u64, "others": [staff],
    });
    let head = head(&["online"], &more);
    record(about, &head, |run| {
        let person =
            |id: u64| json!(["upsert", id.to_string(), "on duty", format!("Name {id}"), 0]);
        run(json!({"do": [person(1), person(2)], "in": "staff"}));
        through(run, json!({"open": "c:0"}));
        through(run, json!({"switch": ["staff", ["c:0"]]}));

        // No window is there to be asked for.
        run(json!({"do": [["epoch", "crew", 1_780_000_100_000_u64], person(3)], "in": "staff"}));
        let renamed = late(run, json!({"tick": 250}));
        run(json!({"close": "c:0"}));
        run(json!({ "receive": renamed }));
        let _lost = late(run, json!({"open": "c:0"}));
        run(json!({"do": [person(4)], "in": "staff"}));
        through(run, json!({"tick": 500}));
        run(json!({"do": [person(5)], "in": "staff"}));
        through(run, json!({"tick": 750}));

        // The window that was asked for is closed.
        run(json!({"close": "c:0"}));
        run(json!({"resync": ["c:0"]}));
        let _lost = late(run, json!({"open": "c:0"}));
        run(json!({"do": [person(6)], "in": "staff"}));
        through(run, json!({"tick": 1_000}));
        through(run, json!({"resync": ["c:0"]}));
        run(json!({"do": [person(7)], "in": "staff"}));
        through(run, json!({"tick": 1_250}));
    })
}
