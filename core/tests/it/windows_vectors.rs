//! The shared vectors of `core/tests/golden/list-frames/`: the changes of a list, the frames it
//! sends, and the rows that a client then holds. `HEADCOUNT_BLESS=1` rewrites them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use headcount::member_list::client::{BundleReport, Client, Request, merge_json};
use headcount::member_list::{
    Body, BodyFormat, Bundle, BundleFormat, Counts, CountsTable, Epoch, FrameRow, HeldWindow,
};
use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
use serde_json::{Map, Value, json};

use crate::support::windows_world::{NAME, People, Person, STATUS};
use crate::windows_scenarios::made;

const NAMES: [&str; 12] = [
    "joins-and-moves",
    "anchors",
    "groups",
    "payloads",
    "many-groups",
    "epochs",
    "corrupt",
    "bad-line",
    "lost-renames",
    "emptied",
    "late-syncs",
    "resume",
];

/// A running vector: a list with one viewer, and the client of that viewer.
pub(crate) struct Run {
    list: MemberList<u64>,
    people: People,
    payloads: bool,
    viewer: Viewer<u64>,
    client: Client<u64>,
    bundles: Vec<Value>,
    /// The requests that the bundles answer.
    requests: Vec<Option<Request>>,
    format: BundleFormat,
    node: String,
}

impl Run {
    pub(crate) fn new(head: &Value) -> Self {
        let payloads = head["bodies"] == "payloads";
        let options = ListOptions::default()
            .payloads(payloads)
            .headers(head["headers"] != false);
        let mut list = MemberList::new(options);
        list.set_groups(&texts(&head["groups"]))
            .expect("good names");
        let node = head["node"].as_str().unwrap_or_default();
        let epoch = Epoch::new(node, number(&head["epoch"]));
        list.begin_epoch(text(&head["list"]), epoch);
        Self {
            list,
            people: People::default(),
            payloads,
            viewer: Viewer::resumable(),
            client: Client::new(merge_json),
            bundles: Vec::new(),
            requests: Vec::new(),
            node: node.into(),
            format: match head["format"] == 2 {
                true => BundleFormat::Two,
                false => BundleFormat::One,
            },
        }
    }

    /// Performs a step, and returns it with all its results.
    pub(crate) fn step(&mut self, step: &Value) -> Value {
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
        let viewer = &mut self.viewer;
        let list = &mut self.list;
        let mut request = None;
        let bundle = match verb.as_str() {
            "do" => {
                items(&what).for_each(|op| self.operate(op));
                return step;
            }
            "receive" => {
                let at = what.as_u64().map(|at| at as usize);
                let request = at.and_then(|at| self.requests[at]);
                let bundle = at.map_or(what, |at| self.bundles[at].clone());
                let bundle = Bundle::from_json(bundle.to_string().as_bytes()).expect("a bundle");
                let report = match request.filter(|_| self.format == BundleFormat::Two) {
                    Some(request) => self.client.answer(request, &bundle),
                    None => self.client.apply(&bundle),
                };
                fields.insert("expect".into(), self.seen(&report));
                return step;
            }
            "close" => {
                self.client.close(text(&what));
                // The client may hold a window that the viewer does not.
                drop(viewer.close(&spec(&what)));
                return step;
            }
            "tick" => {
                let tick = list.tick(Duration::from_millis(number(&what)), bodies);
                Ok(viewer.bundle(&tick))
            }
            "open" => {
                request = Some(self.client.open(text(&what)));
                viewer.open(list, spec(&what), bodies).map(Some)
            }
            "move" => {
                self.client.close(text(&what[0]));
                request = Some(self.client.open(text(&what[1])));
                viewer
                    .retarget(list, &spec(&what[0]), spec(&what[1]), bodies)
                    .map(Some)
            }
            "resync" => {
                let specs: Vec<_> = items(&what).map(spec).collect();
                request = Some(self.client.request());
                viewer.resync(list, &specs, bodies).map(Some)
            }
            "reconnect" => {
                *viewer = Viewer::resumable();
                let (first, held) = self.client.reconnect();
                request = Some(first);
                fields.insert("held".into(), held.iter().map(held_value).collect());
                viewer.resume(list, &held, bodies).map(Some)
            }
            "hidden" => {
                viewer.set_hidden(what == true);
                Ok((what == false).then(|| viewer.catch_up(list, bodies)))
            }
            other => panic!("step {other}"),
        };
        match bundle {
            Ok(bundle) => {
                let binary = bundle
                    .as_ref()
                    .map(|bundle| hex(&bundle.to_binary_in(self.format)));
                let bundle = bundle.map(|bundle| value(&bundle, self.format));
                if let Some(bundle) = &bundle {
                    fields.insert("n".into(), self.bundles.len().into());
                    self.bundles.push(bundle.clone());
                    self.requests.push(request);
                    if self.format == BundleFormat::Two {
                        fields.insert("binary".into(), binary.into());
                    }
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
                let name = text(&op[3]);
                let group = group(list, 2);
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
                .set_group_hidden(group(list, 1), op[2] == true)
                .expect("known"),
            "collapse" => list
                .set_group_collapsed(group(list, 1), op[2] == true)
                .expect("known"),
            "order" => drop(list.set_groups(&texts(&op[1])).expect("known")),
            "merge" => drop(
                list.merge_group(group(list, 1), group(list, 2))
                    .expect("known"),
            ),
            "rename_group" => list
                .rename_group(group(list, 1), text(&op[2]))
                .expect("known"),
            "epoch" => {
                let epoch = Epoch::new(&self.node, number(&op[2]));
                list.begin_epoch(text(&op[1]), epoch);
            }
            other => panic!("operation {other}"),
        }
    }

    /// Changes a part of a body: in its source, or in the payload.
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

    fn seen(&self, report: &BundleReport) -> Value {
        let mut resync: Vec<_> = report.resync.iter().map(|name| name.to_string()).collect();
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
            "resync_counts": report.resync_counts,
            "windows": windows,
            "counts": self.client.counts().map(counts),
        })
    }
}

fn value(bundle: &Bundle<u64>, format: BundleFormat) -> Value {
    serde_json::from_slice(&bundle.to_json_in(format)).expect("valid JSON")
}

fn held_value(held: &HeldWindow) -> Value {
    let Epoch { node, number } = &held.epoch;
    json!({
        "window": &*held.window,
        "epoch": {"node": &**node, "number": number},
        "version": held.version,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

pub(crate) fn texts(json: &Value) -> Vec<&str> {
    items(json).map(text).collect()
}

fn text(json: &Value) -> &str {
    json.as_str().expect("a string")
}

fn number(json: &Value) -> u64 {
    json.as_u64().expect("a number")
}

/// Writes one step a line, so that a change of the protocol is a change of lines.
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
    let folder = match name {
        "resume" => "list-frames-2",
        _ => "list-frames",
    };
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{folder}/{name}.json"))
}

#[test]
pub(crate) fn list_frame_vectors_hold() {
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

/// Returns a step without its results.
fn bare(step: &Value) -> Value {
    let step = step.as_object().expect("an object");
    let outcome = ["n", "bundle", "binary", "held", "expect", "error"];
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
            "\"windows\":",
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
