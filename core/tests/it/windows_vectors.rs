//! The shared vectors of `core/tests/golden/list-frames/`: what a list is told, what it sends, and
//! what a client then holds. `HEADCOUNT_BLESS=1` writes them anew.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use headcount::member_list::client::{Applied, Client};
use headcount::member_list::{Body, BodyFormat, Counts, CountsTable, FrameRow};
use headcount::{Bodies, Bundle, MemberList, Options, SortKey, Viewer, WindowSpec};
use serde_json::{Map, Value, json};

use crate::windows::{Dice, NAME, People, Person, STATUS};
use crate::windows_json;

const NAMES: [&str; 8] = [
    "joins-and-moves",
    "anchors",
    "groups",
    "payloads",
    "many-groups",
    "epochs",
    "corrupt",
    "bad-line",
];

/// One vector as it runs: a list with one viewer, and the client of that viewer.
struct Run {
    list: MemberList<u64>,
    people: People,
    payloads: bool,
    viewer: Viewer<u64>,
    client: Client<u64>,
    bundles: Vec<Value>,
}

impl Run {
    fn new(head: &Value) -> Self {
        let payloads = head["bodies"] == "payloads";
        let mut options = Options::default();
        options = if payloads {
            options.with_payloads()
        } else {
            options
        };
        options = if head["headers"] == false {
            options.without_headers()
        } else {
            options
        };
        let mut list = MemberList::new(options);
        list.set_groups(&texts(&head["groups"]))
            .expect("good names");
        list.begin_epoch(text(&head["list"]), number(&head["epoch"]));
        Self {
            list,
            people: People::default(),
            payloads,
            viewer: Viewer::new(),
            client: Client::new(windows_json::merge),
            bundles: Vec::new(),
        }
    }

    /// Does a step and returns it with everything that came of it.
    fn step(&mut self, step: &Value) -> Value {
        let mut step = step.clone();
        let fields = step.as_object_mut().expect("a step is an object");
        let (verb, what) = fields
            .iter()
            .next()
            .map(|(v, w)| (v.clone(), w.clone()))
            .expect("verb");
        let bodies = match self.payloads {
            true => Bodies::Payloads(BodyFormat::Json),
            false => Bodies::from(&self.people),
        };
        let (viewer, list) = (&mut self.viewer, &mut self.list);
        let bundle = match verb.as_str() {
            "do" => {
                items(&what).for_each(|op| self.operate(op));
                return step;
            }
            "receive" => {
                let bundle = what
                    .as_u64()
                    .map_or(what, |at| self.bundles[at as usize].clone());
                let applied = self.client.apply(&windows_json::bundle(&bundle));
                fields.insert("expect".into(), self.seen(&applied));
                return step;
            }
            "close" => {
                self.client.close(text(&what));
                viewer.close(&spec(&what)).expect("open");
                return step;
            }
            "tick" => {
                let tick = list.tick(Duration::from_millis(number(&what)), bodies);
                Ok(viewer.bundle(&tick))
            }
            "open" => {
                self.client.open(text(&what));
                viewer.open(list, spec(&what), bodies).map(Some)
            }
            "move" => {
                self.client.close(text(&what[0]));
                self.client.open(text(&what[1]));
                viewer
                    .retarget(list, &spec(&what[0]), spec(&what[1]), bodies)
                    .map(Some)
            }
            "resync" => {
                let specs: Vec<_> = items(&what).map(spec).collect();
                viewer.resync(list, &specs, bodies).map(Some)
            }
            "hidden" => {
                viewer.set_hidden(what == true);
                Ok((what == false).then(|| viewer.catch_up(list, bodies)))
            }
            other => panic!("step {other}"),
        };
        match bundle {
            Ok(bundle) => {
                let bundle = bundle.map(|bundle| value(&bundle));
                if let Some(bundle) = &bundle {
                    fields.insert("n".into(), self.bundles.len().into());
                    self.bundles.push(bundle.clone());
                }
                fields.insert("bundle".into(), bundle.unwrap_or(Value::Null));
            }
            Err(error) => {
                fields.insert("error".into(), error.to_string().into());
            }
        }
        step
    }

    fn operate(&mut self, op: &Value) {
        let list = &mut self.list;
        let group = |list: &MemberList<u64>, at: usize| list.group(text(&op[at])).expect("known");
        let id: u64 = op[1].as_str().and_then(|id| id.parse().ok()).unwrap_or(0);
        match text(&op[0]) {
            "upsert" => {
                let (name, group) = (text(&op[3]), group(list, 2));
                let key = SortKey::from_name(name);
                list.upsert(id, group, &key, number(&op[4]) as u32)
                    .expect("known group");
                self.people.0.insert(
                    id,
                    Person {
                        name: name.into(),
                        status: None,
                    },
                );
                self.write_payload(id);
            }
            "remove" => drop(list.remove(&id)),
            "set_group" => drop(list.set_group(&id, group(list, 2)).expect("known")),
            "rename" => {
                let name = text(&op[2]);
                list.set_key(&id, &SortKey::from_name(name)).expect("known");
                self.people.0.get_mut(&id).expect("known").name = name.into();
                self.revise(id, NAME);
            }
            "status" => {
                let status = op[2].as_str().map(|status| match status {
                    "idle" => "idle",
                    "dnd" => "dnd",
                    other => panic!("status {other}"),
                });
                self.people.0.get_mut(&id).expect("known").status = status;
                self.revise(id, STATUS);
            }
            "touch" => drop(list.touch(&id).expect("known")),
            "attrs" => drop(list.set_attrs(&id, number(&op[2]) as u32).expect("known")),
            "hide" => list
                .hide_group(group(list, 1), op[2] == true)
                .expect("known"),
            "collapse" => list
                .collapse_group(group(list, 1), op[2] == true)
                .expect("known"),
            "order" => drop(list.set_groups(&texts(&op[1])).expect("known")),
            "merge" => drop(
                list.merge_group(group(list, 1), group(list, 2))
                    .expect("known"),
            ),
            "rename_group" => list
                .rename_group(group(list, 1), text(&op[2]))
                .expect("known"),
            "epoch" => list.begin_epoch(text(&op[1]), number(&op[2])),
            other => panic!("operation {other}"),
        }
    }

    /// A part of a body changed: in the body's source, or in the payload.
    fn revise(&mut self, id: u64, fields: headcount::member_list::Fields) {
        if self.payloads {
            self.write_payload(id);
        } else {
            self.list.touch_fields(&id, fields).expect("known");
        }
    }

    fn write_payload(&mut self, id: u64) {
        if self.payloads {
            let Person { name, status } = &self.people.0[&id];
            let mut body = json!({ "name": name });
            if let Some(status) = status {
                body["status"] = json!(status);
            }
            self.list
                .set_payload(&id, Bytes::from(body.to_string()))
                .expect("known");
        }
    }

    fn seen(&self, applied: &Applied) -> Value {
        let mut resync: Vec<_> = applied.resync.iter().map(|name| name.to_string()).collect();
        resync.sort();
        let windows: BTreeMap<_, _> = self
            .client
            .windows()
            .map(|(name, window)| {
                let rows: Vec<_> = window.rows().iter().map(row).collect();
                let shown = json!({
                    "version": window.version(),
                    "base_index": window.base_index(),
                    "waiting": window.is_waiting(),
                    "rows": rows,
                });
                (name.to_string(), shown)
            })
            .collect();
        json!({
            "resync": resync,
            "resync_counts": applied.resync_counts,
            "windows": windows,
            "counts": self.client.counts().map(counts),
        })
    }
}

fn value(bundle: &Bundle<u64>) -> Value {
    serde_json::from_slice(&bundle.to_json()).expect("valid JSON")
}

fn row(row: &FrameRow<u64>) -> Value {
    match row {
        FrameRow::Header { group, count } => json!({"group": &**group, "count": count}),
        FrameRow::Member {
            id,
            revision,
            attrs,
            body,
        } => {
            let mut row = json!({"id": id.to_string(), "revision": revision});
            if *attrs != 0 {
                row["attrs"] = json!(attrs);
            }
            if let Some(Body::Json(body)) = body {
                row["body"] = serde_json::from_slice(body).expect("JSON");
            }
            row
        }
    }
}

fn counts(counts: &Counts) -> Value {
    let CountsTable::Full(groups) = &counts.table else {
        panic!("a client has a full table")
    };
    let groups = groups.iter().map(|group| {
        let mut entry = json!({"group": &*group.group, "count": group.count});
        for (flag, set) in [("hidden", group.hidden), ("collapsed", group.collapsed)] {
            if set {
                entry[flag] = json!(true);
            }
        }
        entry
    });
    json!({
        "version": counts.version,
        "rows": counts.rows,
        "members": counts.members,
        "groups": groups.collect::<Vec<_>>(),
    })
}

fn spec(name: &Value) -> WindowSpec<u64> {
    WindowSpec::parse(text(name)).expect("a canonical name")
}

fn items(json: &Value) -> std::slice::Iter<'_, Value> {
    json.as_array().expect("an array").iter()
}

fn texts(json: &Value) -> Vec<&str> {
    items(json).map(text).collect()
}

fn text(json: &Value) -> &str {
    json.as_str().expect("a string")
}

fn number(json: &Value) -> u64 {
    json.as_u64().expect("a number")
}

fn head(groups: &[&str], more: Value) -> Value {
    let mut head = json!({"list": "room:7", "epoch": 3, "bodies": "source", "groups": groups});
    for (field, value) in more.as_object().expect("an object") {
        head[field] = value.clone();
    }
    head
}

/// Does the steps `make` yields, which may look at what came of the ones before.
fn record(about: &str, head: Value, make: impl FnOnce(&mut dyn FnMut(Value) -> Value)) -> Value {
    let mut run = Run::new(&head);
    let mut steps = Vec::new();
    make(&mut |step| {
        steps.push(run.step(&step));
        steps[steps.len() - 1].clone()
    });
    json!({"about": about, "server": head, "steps": steps})
}

/// A step whose bundle arrives at once.
fn through(run: &mut dyn FnMut(Value) -> Value, step: Value) {
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
    record(about, head(&["online", "offline"], json!({})), |run| {
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
        head(&["mods", "online", "offline"], json!({})),
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
                 all of it; a viewer that is hidden and shown again.";
    record(
        about,
        head(&["mods", "online", "offline"], json!({})),
        |run| {
            let mut ops = people(&["anna", "bert", "carl"], "mods");
            ops.extend(people(&["xaver", "yolanda"], "online"));
            ops.extend(people(&["zacharias"], "offline"));
            run(json!({"do": ops}));
            through(run, json!({"open": "c:0"}));
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
    record(about, head(&["online", "offline"], more), |run| {
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
    record(about, head(&names, json!({})), |run| {
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
                 every window wait for its SYNC.";
    record(about, head(&["online"], json!({})), |run| {
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
    })
}

fn corrupt() -> Value {
    let about = "Frames that were damaged on their way: each is refused as a whole, the rows stay, \
                 the client asks for the window and takes nothing but its SYNC.";
    record(about, head(&["online"], json!({})), |run| {
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

fn bad_line() -> Value {
    let about = "Bundles lost, doubled and overtaken, chunk and anchored windows; the client asks \
                 for what it misses and holds what the list shows in the end.";
    record(
        about,
        head(&["mods", "online", "offline"], json!({})),
        |run| {
            let mut dice = Dice(20);
            let groups = ["mods", "online", "offline"];
            let start: Vec<_> = (1..=12)
                .map(|id| {
                    json!([
                        "upsert",
                        id.to_string(),
                        groups[dice.roll(3)],
                        format!("n{}", dice.roll(50)),
                        0
                    ])
                })
                .collect();
            run(json!({"do": start}));
            through(run, json!({"open": "c:0"}));
            through(run, json!({"open": "a:5:2:2"}));
            let mut late: Vec<Value> = Vec::new();
            let mut asked: Vec<String> = Vec::new();
            let receive =
                |run: &mut dyn FnMut(Value) -> Value, n: &Value, asked: &mut Vec<String>| {
                    let seen = run(json!({"receive": n}));
                    asked.extend(
                        texts(&seen["expect"]["resync"])
                            .iter()
                            .map(|name| (*name).to_owned()),
                    );
                };
            for at in 1..=40 {
                let ops: Vec<_> = (0..1 + dice.roll(3))
                    .map(|_| {
                        let id = (1 + dice.roll(12)).to_string();
                        match dice.roll(4) {
                            0 => json!([
                                "upsert",
                                id,
                                groups[dice.roll(3)],
                                format!("n{}", dice.roll(50)),
                                dice.roll(2)
                            ]),
                            1 => json!(["remove", id]),
                            _ => json!([
                                "upsert",
                                id,
                                groups[dice.roll(3)],
                                format!("n{}", dice.roll(50)),
                                1
                            ]),
                        }
                    })
                    .collect();
                run(json!({"do": ops}));
                let n = run(json!({"tick": 400 * at}))["n"].clone();
                match (n.is_null(), dice.roll(6)) {
                    (true, _) | (_, 0) => {}
                    (_, 1) => late.push(n),
                    (_, 2) => (0..2).for_each(|_| receive(run, &n, &mut asked)),
                    _ => receive(run, &n, &mut asked),
                }
                if dice.roll(3) == 0 {
                    late.drain(..)
                        .rev()
                        .for_each(|n| receive(run, &n, &mut asked));
                }
                if at % 2 == 0 {
                    for name in std::mem::take(&mut asked) {
                        through(run, json!({"resync": [name]}));
                    }
                }
            }
        },
    )
}

fn made(name: &str) -> Value {
    match name {
        "joins-and-moves" => joins_and_moves(),
        "anchors" => anchors(),
        "groups" => groups(),
        "payloads" => payloads(),
        "many-groups" => many_groups(),
        "epochs" => epochs(),
        "corrupt" => corrupt(),
        "bad-line" => bad_line(),
        other => panic!("no vector {other}"),
    }
}

/// One step a line, so that a change of the protocol reads as a change of lines.
fn written(vector: &Value) -> String {
    let steps: Vec<String> = items(&vector["steps"]).map(ToString::to_string).collect();
    format!(
        "{{\"about\": {},\n\"server\": {},\n\"steps\": [\n{}\n]}}\n",
        vector["about"],
        vector["server"],
        steps.join(",\n")
    )
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/list-frames/{name}.json"))
}

#[test]
fn list_frame_vectors_hold() {
    let bless = std::env::var_os("HEADCOUNT_BLESS").is_some();
    for name in NAMES {
        if bless {
            std::fs::write(path(name), written(&made(name))).expect("writable");
        }
        let vector = std::fs::read_to_string(path(name)).expect("the vector is there");
        let vector: Value = serde_json::from_str(&vector).expect("valid JSON");
        let mut run = Run::new(&vector["server"]);
        for (at, step) in items(&vector["steps"]).enumerate() {
            assert_eq!(run.step(&bare(step)), *step, "{name}, step {at}");
        }
    }
}

/// A step without what came of it.
fn bare(step: &Value) -> Value {
    let step = step.as_object().expect("an object");
    let outcome = ["n", "bundle", "expect", "error"];
    let asked = step
        .iter()
        .filter(|(field, _)| !outcome.contains(&field.as_str()));
    Value::Object(
        asked
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect::<Map<_, _>>(),
    )
}

#[test]
fn list_frame_vectors_cover_the_protocol() {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for name in NAMES {
        let vector = std::fs::read_to_string(path(name)).expect("the vector is there");
        for what in [
            "\"kind\":\"delta\"",
            "\"kind\":\"sync\"",
            "\"move\":",
            "\"patch\":",
            "\"body\":",
            "null}",
            "\"renamed\":",
            "\"bases\":",
            "\"changed\":",
            "\"hidden\":true",
            "\"collapsed\":true",
            "\"waiting\":true",
            "\"resync_counts\":true",
            "\"error\":",
        ] {
            *seen.entry(what).or_default() += vector.matches(what).count();
        }
    }
    let missing: Vec<_> = seen.iter().filter(|(_, count)| **count == 0).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
