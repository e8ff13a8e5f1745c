//! The scenarios of the shared vectors of list frames.

use serde_json::{Value, json};

use crate::support::rng::Rng;
use crate::windows_scenarios_lists::{found, renamed_list, search, switch};
use crate::windows_vectors::{Run, texts};

pub(crate) fn head(groups: &[&str], more: &Value) -> Value {
    let mut head = json!({"list": "room:7", "epoch": 3, "bodies": "source", "groups": groups});
    for (field, value) in more.as_object().expect("an object") {
        head[field] = value.clone();
    }
    head
}

/// Performs the steps that `make` yields, which may use the results of those before.
pub(crate) fn record(
    about: &str,
    head: &Value,
    make: impl FnOnce(&mut dyn FnMut(Value) -> Value),
) -> Value {
    let mut run = Run::new(head);
    let mut steps = Vec::new();
    make(&mut |step| {
        steps.push(run.step(&step));
        steps[steps.len() - 1].clone()
    });
    json!({"about": about, "server": head, "steps": steps})
}

/// A step whose bundle arrives at once.
pub(crate) fn through(run: &mut dyn FnMut(Value) -> Value, step: Value) {
    let n = run(step)["n"].clone();
    if !n.is_null() {
        run(json!({"receive": n}));
    }
}

fn people(names: &[&str], group: &str) -> Vec<Value> {
    let id = |name: &str| {
        (name.len() * 100 + name.bytes().map(usize::from).sum::<usize>() % 100).to_string()
    };
    names
        .iter()
        .map(|name| json!(["upsert", id(name), group, name, 0]))
        .collect()
}

fn joins_and_moves() -> Value {
    let about = "One chunk over a perfect line: joins, leaves, moves with and without a change, \
                 patches that set and remove fields, attributes, a member that leaves and returns.";
    record(about, &head(&["online", "offline"], &json!({})), |run| {
        run(json!({"do": [
            ["upsert", "7", "online", "Zoe", 0], ["upsert", "9", "online", "Ada", 1],
            ["upsert", "12", "offline", "Mo", 0], ["upsert", "13", "offline", "Ида", 0],
        ]}));
        through(run, json!({"open": "c:0"}));
        let steps = [
            json!([["status", "9", "idle"], ["set_group", "12", "online"]]),
            json!([["rename", "7", "Abe"], ["status", "9", null]]),
            json!([["upsert", "20", "online", "Bo", 2], ["remove", "13"]]),
            json!([
                ["set_group", "7", "offline"],
                ["set_group", "9", "offline"],
                ["attrs", "12", 5]
            ]),
            json!([["remove", "9"], ["upsert", "9", "offline", "Ada II", 0]]),
            json!([
                ["set_group", "7", "online"],
                ["rename", "7", "\"Quote\\\" \u{1f600}"]
            ]),
            json!([["touch", "12"], ["touch", "20"]]),
            json!([]),
            json!([
                ["remove", "7"],
                ["remove", "9"],
                ["remove", "12"],
                ["remove", "20"]
            ]),
            json!([["upsert", "1", "online", "One", 0]]),
        ];
        for (at, ops) in steps.iter().enumerate() {
            run(json!({"do": ops}));
            through(run, json!({"tick": 250 * (at + 1)}));
        }
        through(run, json!({"open": "c:7"}));
        run(json!({"close": "c:0"}));
        run(json!({"do": [["upsert", "2", "online", "Two", 0]]}));
        through(run, json!({"tick": 6000}));
    })
}

fn anchors() -> Value {
    let about = "Anchored windows: rows above come and go, the anchor moves, leaves, is hidden; \
                 one window follows its member, one a header; windows slide, and become one.";
    record(
        about,
        &head(&["mods", "online", "offline"], &json!({})),
        |run| {
            let mut ops = people(
                &["anna", "bert", "carl", "dora", "emil", "fritz", "gerd"],
                "online",
            );
            ops.extend([
                json!(["upsert", "1", "mods", "Mod", 0]),
                json!(["upsert", "2", "offline", "Off", 0]),
            ]);
            run(json!({"do": ops}));
            let id = |name: &str| {
                people(&[name], "online")[0][1]
                    .as_str()
                    .expect("text")
                    .to_owned()
            };
            let around = |letter: &str, name: &str| format!("{letter}:{}:1:1", id(name));
            through(run, json!({"open": around("a", "carl")}));
            through(run, json!({"open": around("f", "gerd")}));
            through(run, json!({"open": "g:offline:2:1"}));
            let steps = [
                json!([["upsert", "3", "mods", "Above", 0]]),
                json!([["upsert", "4", "online", "bzzz", 0]]),
                json!([["set_group", id("carl"), "offline"]]),
                json!([["set_group", id("gerd"), "mods"]]),
                json!([["remove", id("gerd")]]),
                json!([["remove", id("dora")], ["status", id("emil"), "dnd"]]),
                json!([["hide", "online", true]]),
                json!([["hide", "online", false]]),
                json!([["collapse", "offline", true]]),
            ];
            for (at, ops) in steps.iter().enumerate() {
                run(json!({"do": ops}));
                through(run, json!({"tick": 1000 * (at + 1)}));
            }
            through(run, json!({"open": around("a", "anna")}));
            through(run, json!({"open": around("a", "bert")}));
            run(json!({"do": [["remove", id("anna")]]}));
            through(run, json!({"tick": 20_000}));
            run(json!({"open": "a:999999:1:1"}));
            run(json!({"do": [["set_group", id("bert"), "mods"]]}));
            through(
                run,
                json!({"move": [around("a", "bert"), around("a", "emil")]}),
            );
            through(run, json!({"tick": 21_000}));
        },
    )
}

fn groups() -> Value {
    let about = "Work on whole groups: order, hiding, collapsing, a new name, a merge; counts of \
                 all of it; a search in the group that is no more after the merge; a viewer that is \
                 hidden and shown again.";
    record(
        about,
        &head(&["mods", "online", "offline"], &json!({})),
        |run| {
            let mut ops = people(&["anna", "bert", "carl"], "mods");
            ops.extend(people(&["xaver", "yolanda"], "online"));
            ops.extend(people(&["zacharias"], "offline"));
            run(json!({"do": ops}));
            through(run, json!({"open": "c:0"}));
            found(run, &json!({"search": "b", "group": "mods"}));
            let steps = [
                json!([["order", ["offline", "mods", "online"]]]),
                json!([["hide", "offline", true]]),
                json!([["collapse", "mods", true]]),
                json!([
                    ["rename_group", "online", "on:line"],
                    ["hide", "offline", false]
                ]),
                json!([["collapse", "mods", false], ["merge", "mods", "on:line"]]),
            ];
            for (at, ops) in steps.iter().enumerate() {
                run(json!({"do": ops}));
                through(run, json!({"tick": 700 * (at + 1)}));
            }
            run(json!({"hidden": true}));
            run(json!({"do": [["upsert", "1", "offline", "Unseen", 0]]}));
            through(run, json!({"tick": 10_000}));
            through(run, json!({"hidden": false}));
        },
    )
}

fn payloads() -> Value {
    let about = "A list that keeps the bodies itself, without headers: a changed body travels \
                 whole, a moved one not at all.";
    let more = json!({"bodies": "payloads", "headers": false});
    record(about, &head(&["online", "offline"], &more), |run| {
        let mut ops = people(&["anna", "bert", "carl"], "online");
        ops.extend(people(&["xaver"], "offline"));
        run(json!({"do": ops}));
        through(run, json!({"open": "c:0"}));
        let id = |name: &str| people(&[name], "online")[0][1].clone();
        run(json!({"do": [["status", id("bert"), "idle"], ["set_group", id("anna"), "offline"]]}));
        through(run, json!({"tick": 250}));
        run(json!({"do": [["rename", id("xaver"), "Abel"], ["attrs", id("carl"), 3]]}));
        through(run, json!({"tick": 500}));
    })
}

fn many_groups() -> Value {
    let about = "More than 64 groups: counts travel as deltas, a lost one is noticed, a changed \
                 table is sent whole.";
    let names: Vec<String> = (0..66).map(|at| format!("g{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    record(about, &head(&names, &json!({})), |run| {
        run(json!({"do": [["upsert", "1", "g1", "a", 0], ["upsert", "2", "g64", "b", 0]]}));
        through(run, json!({"open": "c:9"}));
        run(json!({"do": [["upsert", "3", "g5", "c", 0]]}));
        through(run, json!({"tick": 1000}));
        run(json!({"do": [["set_group", "3", "g6"]]}));
        through(run, json!({"tick": 2000}));
        run(json!({"do": [["upsert", "4", "g6", "d", 0]]}));
        run(json!({"tick": 3000}));
        run(json!({"do": [["remove", "1"]]}));
        through(run, json!({"tick": 4000}));
        through(run, json!({"resync": []}));
        run(json!({"do": [["hide", "g64", true]]}));
        through(run, json!({"tick": 5000}));
    })
}

fn epochs() -> Value {
    let about = "A list that is handed over: bundles of an old epoch are dropped, a new one makes \
                 every window wait for its SYNC; until that comes, no SYNC of the old one takes \
                 them back.";
    record(about, &head(&["online"], &json!({})), |run| {
        run(json!({"do": people(&["anna", "bert"], "online")}));
        through(run, json!({"open": "c:0"}));
        through(run, json!({"open": "c:1"}));
        run(json!({"do": [["upsert", "1", "online", "late", 0]]}));
        let late = run(json!({"tick": 250}))["n"].clone();
        run(json!({"do": [["epoch", "room:7", 4], ["upsert", "2", "online", "new", 0]]}));
        through(run, json!({"resync": ["c:0"]}));
        run(json!({"receive": late}));
        through(run, json!({"resync": ["c:1"]}));
        run(json!({"do": [["remove", "2"]]}));
        through(run, json!({"tick": 500}));
        // The first bundle of an epoch is lost; then a SYNC of the one before is late.
        let late = run(json!({"resync": ["c:0", "c:1"]}))["n"].clone();
        run(json!({"do": [["touch", "1"]]}));
        through(run, json!({"tick": 750}));
        run(json!({"do": [["epoch", "room:7", 5]]}));
        run(json!({"tick": 1_000}));
        run(json!({"do": [["touch", "1"]]}));
        through(run, json!({"tick": 1_250}));
        run(json!({ "receive": late }));
        through(run, json!({"resync": ["c:0", "c:1"]}));
    })
}

fn corrupt() -> Value {
    let about = "Frames that were damaged on their way: each is refused as a whole, the rows stay, \
                 the client asks for the window and takes nothing but its SYNC.";
    record(about, &head(&["online"], &json!({})), |run| {
        let mut ops = people(&["anna", "bert", "carl", "dora"], "online");
        ops.push(json!(["upsert", "9", "online", "zoe", 0]));
        run(json!({"do": ops}));
        through(run, json!({"open": "c:0"}));
        run(
            json!({"do": [["rename", "9", "aaron"], ["touch", people(&["carl"], "online")[0][1]]]}),
        );
        let good = run(json!({"tick": 250}));
        let damage: [(&str, Value); 13] = [
            ("/frames/0/checksum32", json!(1)),
            ("/frames/0/deletes", json!([5, 5])),
            ("/frames/0/deletes", json!([6])),
            ("/frames/0/inserts/0/index", json!(6)),
            ("/frames/0/inserts/0/move", json!("404")),
            ("/frames/0/inserts", json!([])),
            ("/frames/0/updates/0/index", json!(1)),
            ("/frames/0/updates/0/index", json!(6)),
            ("/frames/0/updates/0", json!({"index": 4, "count": 9})),
            ("/frames/0/updates/0", json!({"index": 0, "revision": 9})),
            ("/frames/0/updates/0/revision", json!(77)),
            ("/frames/0/base_version", json!(99)),
            (
                "/frames/0/inserts/0",
                json!({"index": 1, "row": {"id": "404", "revision": 1}}),
            ),
        ];
        for (at, to) in damage {
            let mut bundle = good["bundle"].clone();
            *bundle
                .pointer_mut(at)
                .expect("there is something to damage") = to;
            run(json!({"receive": bundle}));
            run(json!({"receive": good["n"]}));
            through(run, json!({"resync": ["c:0"]}));
            // The next frame starts from the same rows again.
            run(json!({"do": [["rename", "9", "zoe"]]}));
            through(run, json!({"tick": 250}));
            run(json!({"do": [["rename", "9", "aaron"]]}));
            through(run, json!({"tick": 250}));
        }
    })
}

fn lost_renames() -> Value {
    let about = "Frames that rename a window are lost or late: the names in the next bundle show \
                 it, also when the window had become one with another that is held.";
    record(about, &head(&["mods", "online"], &json!({})), |run| {
        let names = ["anna", "bert", "carl", "dora", "emil", "fritz"];
        let id = |name: &str| people(&[name], "online")[0][1].clone();
        let around = |name: &str| format!("a:{}:1:1", id(name).as_str().expect("text"));
        run(json!({"do": people(&names, "online")}));
        for window in ["c:0".to_owned(), around("carl"), around("dora")] {
            through(run, json!({ "open": window }));
        }
        run(json!({"do": [["set_group", id("carl"), "mods"]]}));
        let lost = run(json!({"tick": 1000}))["n"].clone();
        run(json!({"do": [["status", id("anna"), "idle"]]}));
        through(run, json!({"tick": 1250}));
        through(run, json!({"resync": [around("carl"), "c:0"]}));
        run(json!({ "receive": lost }));
        run(json!({"do": [["status", id("dora"), "dnd"]]}));
        through(run, json!({"tick": 1500}));
        // Renamed twice; the second frame overtakes the first.
        run(json!({"do": [["remove", id("dora")]]}));
        let late = run(json!({"tick": 1750}))["n"].clone();
        run(json!({"do": [["remove", id("emil")]]}));
        through(run, json!({"tick": 2000}));
        run(json!({ "receive": late }));
        through(run, json!({"resync": [around("dora"), "c:0"]}));
        // An old bundle renames nothing.
        run(json!({"do": [["status", id("fritz"), "idle"]]}));
        let old = run(json!({"tick": 2250}))["n"].clone();
        through(run, json!({"open": around("bert")}));
        run(json!({ "receive": old }));
        run(json!({"do": [["remove", id("bert")]]}));
        through(run, json!({"tick": 2500}));
    })
}

fn late_syncs() -> Value {
    let about = "Answers that come late, after later bundles: no window goes back to earlier rows, \
                 neither one that holds later rows nor one that waits for the answer to a later \
                 request.";
    record(about, &head(&["online"], &json!({})), |run| {
        let names = ["anna", "bert", "carl", "dora", "emil", "fritz"];
        let id = |name: &str| people(&[name], "online")[0][1].clone();
        let around = |name: &str| format!("a:{}:1:1", id(name).as_str().expect("text"));
        let [bert, emil] = ["bert", "emil"].map(around);
        let status = |name: &str, to: &str| json!({"do": [["status", id(name), to]]});
        run(json!({"do": people(&names, "online")}));
        through(run, json!({"open": "c:0"}));
        // The tick overtakes the answer.
        let late = run(json!({"resync": ["c:0"]}))["n"].clone();
        run(status("anna", "idle"));
        through(run, json!({"tick": 250}));
        run(json!({ "receive": late }));
        // The later answer overtakes the earlier one.
        let late = run(json!({"resync": ["c:0"]}))["n"].clone();
        run(status("anna", "dnd"));
        through(run, json!({"resync": ["c:0"]}));
        run(json!({ "receive": late }));
        // The answer is older than the tick that shows a gap.
        let late = run(json!({"resync": ["c:0"]}))["n"].clone();
        run(status("bert", "idle"));
        run(json!({"tick": 500}));
        run(status("bert", "dnd"));
        through(run, json!({"tick": 750}));
        run(json!({ "receive": late }));
        through(run, json!({"resync": ["c:0"]}));
        // The window is closed and opened again meanwhile.
        let late = run(json!({ "open": bert }))["n"].clone();
        run(json!({ "close": bert }));
        run(status("carl", "idle"));
        through(run, json!({"tick": 1_000}));
        let answer = run(json!({ "open": bert }))["n"].clone();
        run(json!({ "receive": late }));
        run(json!({ "receive": answer }));
        // The window moves away, back and away again.
        let late = run(json!({"move": [bert, emil]}))["n"].clone();
        run(status("dora", "idle"));
        through(run, json!({"move": [emil, bert]}));
        run(json!({ "receive": late }));
        let answer = run(json!({"move": [bert, emil]}))["n"].clone();
        run(json!({ "receive": late }));
        run(json!({ "receive": answer }));
        run(json!({ "receive": late }));
        run(status("emil", "idle"));
        through(run, json!({"tick": 1_250}));
    })
}

fn emptied() -> Value {
    let about = "The answer to a resync names the window of an empty list `c:0`. It comes when the \
                 client has closed the window and opens it again: the names in the next bundle show \
                 that the server knows no such chunk.";
    record(about, &head(&["online"], &json!({})), |run| {
        let people = people(&["anna", "bert"], "online");
        let window = format!("a:{}:1:1", people[0][1].as_str().expect("text"));
        run(json!({"do": people}));
        through(run, json!({ "open": window }));
        let removed = people.iter().map(|op| json!(["remove", op[1]]));
        run(json!({"do": removed.collect::<Vec<_>>()}));
        through(run, json!({"tick": 1000}));
        let late = run(json!({"resync": [window]}))["n"].clone();
        run(json!({ "close": window }));
        run(json!({"do": people}));
        let answer = run(json!({ "open": window }))["n"].clone();
        run(json!({ "receive": late }));
        run(json!({ "receive": answer }));
        run(json!({"resync": ["c:0"]}));
        run(json!({"close": "c:0"}));
        run(json!({"do": [["status", people[0][1], "idle"]]}));
        through(run, json!({"tick": 2000}));
        through(run, json!({ "resync": [window] }));
    })
}

fn bad_line() -> Value {
    let about = "Bundles lost, doubled and overtaken, chunk and anchored windows; the client asks \
                 for what it misses and takes nothing else meanwhile.";
    let head = head(&["mods", "online", "offline"], &json!({}));
    record(about, &head, |run| {
        let mut rng = Rng(20);
        let start: Vec<_> = (1..=12).map(|id| random_person(&mut rng, id)).collect();
        run(json!({"do": start}));
        through(run, json!({"open": "c:0"}));
        through(run, json!({"open": "a:5:2:2"}));
        let mut late: Vec<Value> = Vec::new();
        let mut asked: Vec<String> = Vec::new();
        for at in 1..=40 {
            let ops: Vec<_> = (0..1 + rng.index(3))
                .map(|_| random_step(&mut rng))
                .collect();
            run(json!({"do": ops}));
            let n = run(json!({"tick": 400 * at}))["n"].clone();
            let mut now = match (n.is_null(), rng.index(6)) {
                (true, _) | (_, 0) => vec![],
                (_, 1) => {
                    late.push(n);
                    vec![]
                }
                (_, 2) => vec![n.clone(), n],
                _ => vec![n],
            };
            if rng.index(3) == 0 {
                now.extend(late.drain(..).rev());
            }
            for n in now {
                let seen = run(json!({"receive": n}));
                let resync = texts(&seen["expect"]["resync"]);
                asked.extend(resync.into_iter().map(str::to_owned));
            }
            if at % 2 == 0 {
                for name in std::mem::take(&mut asked) {
                    through(run, json!({"resync": [name]}));
                }
            }
        }
    })
}

fn random_person(rng: &mut Rng, id: usize) -> Value {
    let group = ["mods", "online", "offline"][rng.index(3)];
    let name = format!("n{}", rng.index(50));
    let attrs = rng.index(2);
    json!(["upsert", id.to_string(), group, name, attrs])
}

fn random_step(rng: &mut Rng) -> Value {
    let id = 1 + rng.index(12);
    match rng.index(4) {
        0 => json!(["remove", id.to_string()]),
        _ => random_person(rng, id),
    }
}

/// Frame format 2.
fn resume() -> Value {
    let about = "Frame format 2: a cut connection, after which windows come as one DELTA, also one \
                 whose anchor was replaced meanwhile; a lost last frame, noticed by the version \
                 that the next bundle says; a new epoch, after which they come as SYNC; an answer \
                 and a bundle of a former connection, which are dropped.";
    let more = json!({"format": 2, "node": "node-1", "epoch": 1_790_000_000_000_u64});
    record(about, &head(&["online", "offline"], &more), |run| {
        let names: Vec<String> = (0..30).map(|at| format!("Name {at:02}")).collect();
        let members = names.iter().enumerate();
        let members =
            members.map(|(at, name)| json!(["upsert", (at + 1).to_string(), "online", name, 0]));
        run(json!({"do": members.collect::<Vec<_>>()}));
        through(run, json!({"open": "c:0"}));
        through(run, json!({"open": "a:15:2:3"}));
        through(run, json!({"tick": 250}));

        // Away: the anchor leaves, members change twice.
        let late = run(json!({"resync": ["c:0"]}))["n"].clone();
        run(json!({"do": [["remove", "15"], ["status", "3", "idle"], ["attrs", "16", 1]]}));
        let lost = run(json!({"tick": 500}))["n"].clone();
        run(json!({"do": [["rename", "3", "Zoë"], ["set_group", "9", "offline"]]}));
        run(json!({"tick": 750}));
        let answer = run(json!({"reconnect": null}))["n"].clone();
        run(json!({"receive": late}));
        run(json!({"receive": lost}));
        run(json!({"receive": answer}));
        run(json!({"receive": answer}));
        run(json!({"do": [["status", "4", "dnd"]]}));
        through(run, json!({"tick": 1_000}));

        // The last frame is lost; nothing changes for 30 s.
        run(json!({"do": [["status", "5", "dnd"]]}));
        run(json!({"tick": 1_250}));
        through(run, json!({"tick": 31_250}));
        through(run, json!({"resync": ["c:0"]}));

        run(json!({"do": [["epoch", "room:7", 1_790_000_100_000_u64]]}));
        through(run, json!({"reconnect": null}));
    })
}

pub(crate) fn made(name: &str) -> Value {
    match name {
        "joins-and-moves" => joins_and_moves(),
        "anchors" => anchors(),
        "groups" => groups(),
        "payloads" => payloads(),
        "many-groups" => many_groups(),
        "epochs" => epochs(),
        "corrupt" => corrupt(),
        "bad-line" => bad_line(),
        "lost-renames" => lost_renames(),
        "emptied" => emptied(),
        "late-syncs" => late_syncs(),
        "search" => search(),
        "resume" => resume(),
        "switch" => switch(),
        "renamed-list" => renamed_list(),
        other => panic!("no vector {other}"),
    }
}
