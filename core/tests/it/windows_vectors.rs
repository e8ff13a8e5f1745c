//! The shared vectors of `core/tests/golden/list-frames/`: the changes of a list, the frames it
//! sends, and the rows that a client then holds. `HEADCOUNT_BLESS=1` rewrites them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use headcount::member_list::client::{BundleReport, Client, Request, merge_json};
use headcount::member_list::{
    Body, BodyFormat, Bundle, BundleFormat, Counts, CountsTable, Epoch, Fields, FrameRow,
    HeldWindow, WindowError,
};
use headcount::{Bodies, ListOptions, MemberList, SortKey, Viewer, WindowSpec};
use serde_json::{Map, Value, json};

use crate::support::windows_world::{NAME, People, Person, STATUS};
use crate::windows_scenarios::made;

const NAMES: [&str; 15] = [
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
    "search",
    "resume",
    "switch",
    "renamed-list",
];

/// A running vector: lists of a node with one viewer, and the client of that viewer.
pub(crate) struct Run {
    lists: Vec<Listed>,
    /// The list of the viewer.
    at: usize,
    payloads: bool,
    viewer: Viewer<u64>,
    client: Client<u64>,
    sent: Vec<Sent>,
    format: BundleFormat,
    node: String,
}

/// A list, and the application's data on its members.
struct Listed {
    name: String,
    list: MemberList<u64>,
    people: People,
}

/// A bundle of the server.
struct Sent {
    bundle: Value,
    /// The request that it answers.
    request: Option<Request>,
    /// True if the client learns the name of the window by it.
    is_search: bool,
}

impl Run {
    pub(crate) fn new(head: &Value) -> Self {
        let payloads = head["bodies"] == "payloads";
        let node = head["node"].as_str().unwrap_or_default();
        let listed = |entry: &Value| {
            let options = ListOptions::default()
                .payloads(payloads)
                .headers(entry["headers"] != false);
            let mut list = MemberList::new(options);
            list.set_groups(&texts(&entry["groups"]))
                .expect("good names");
            let name = text(&entry["list"]);
            list.begin_epoch(name, Epoch::new(node, number(&entry["epoch"])))
                .expect("a higher epoch");
            Listed {
                name: name.into(),
                list,
                people: People::default(),
            }
        };
        let others = head["others"].as_array().into_iter().flatten();
        Self {
            lists: std::iter::once(head).chain(others).map(listed).collect(),
            at: 0,
            payloads,
            viewer: Viewer::resumable(),
            client: Client::new(merge_json),
            sent: Vec::new(),
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
        // `in` comes after `do`.
        let (verb, what) = fields
            .iter()
            .next()
            .map(|(v, w)| (v.clone(), w.clone()))
            .expect("verb");
        match verb.as_str() {
            "do" => {
                let at = fields.get("in").map_or(0, |name| self.list(name));
                items(&what).for_each(|op| self.operate(at, op));
            }
            "receive" => {
                let expect = self.receive(&what);
                fields.insert("expect".into(), expect);
            }
            "close" => {
                self.client.close(text(&what));
                // The client may hold a window that the viewer does not.
                drop(self.viewer.close(&spec(&what)));
            }
            _ => match self.ask(&verb, &what, fields) {
                Ok((bundle, request)) => self.note(bundle, request, verb == "search", fields),
                Err(error) => drop(fields.insert("error".into(), error.to_string().into())),
            },
        }
        step
    }

    /// Lets the client take a bundle, and returns what it then has.
    fn receive(&mut self, what: &Value) -> Value {
        let sent = what.as_u64().map(|at| &self.sent[at as usize]);
        let bundle = sent.map_or(what, |sent| &sent.bundle);
        let bundle = Bundle::from_json(bundle.to_string().as_bytes()).expect("a bundle");
        if sent.is_some_and(|sent| sent.is_search) {
            let _ = self.client.open(&bundle.frames[0].window);
        }
        let request = sent.and_then(|sent| sent.request);
        let report = match request.filter(|_| self.format == BundleFormat::Two) {
            Some(request) => self.client.answer(request, &bundle),
            None => self.client.apply(&bundle),
        };
        self.seen(&report)
    }

    /// Lets the viewer make a bundle, for a tick or a request of the client.
    fn ask(
        &mut self,
        verb: &str,
        what: &Value,
        fields: &mut Map<String, Value>,
    ) -> Result<(Option<Bundle<u64>>, Option<Request>), WindowError> {
        if verb == "tick" {
            return Ok((self.tick(number(what)), None));
        }
        if verb == "switch" {
            return self.switch(what);
        }
        let Listed { list, people, .. } = &mut self.lists[self.at];
        let bodies = bodies(self.payloads, people);
        let viewer = &mut self.viewer;
        let client = &mut self.client;
        let (request, bundle) = match verb {
            "open" => {
                let request = client.open(text(what));
                (request, viewer.open(list, spec(what), bodies)?)
            }
            "search" => {
                let spec = search(what);
                fields.insert("window".into(), spec.to_string().into());
                (client.request(), viewer.open(list, spec, bodies)?)
            }
            "move" => {
                client.close(text(&what[0]));
                let request = client.open(text(&what[1]));
                let [from, to] = [0, 1].map(|at| spec(&what[at]));
                (request, viewer.retarget(list, &from, to, bodies)?)
            }
            "resync" => {
                let specs: Vec<_> = items(what).map(spec).collect();
                let request = client.request();
                (request, viewer.resync(list, &specs, bodies)?)
            }
            "reconnect" => {
                *viewer = Viewer::resumable();
                let (first, held) = client.reconnect();
                fields.insert("held".into(), held.iter().map(held_value).collect());
                (first, viewer.resume(list, &held, bodies)?)
            }
            "hidden" => {
                viewer.set_hidden(what == true);
                let bundle = (what == false).then(|| viewer.catch_up(list, bodies));
                return Ok((bundle, None));
            }
            other => panic!("step {other}"),
        };
        Ok((Some(bundle), Some(request)))
    }

    /// Publishes all lists, and returns what the viewer gets.
    fn tick(&mut self, now: u64) -> Option<Bundle<u64>> {
        let now = Duration::from_millis(now);
        let mut bundles = Vec::new();
        for Listed { list, people, .. } in &mut self.lists {
            let tick = list.tick(now, bodies(self.payloads, people));
            bundles.extend(self.viewer.bundle(&tick));
        }
        assert!(bundles.len() <= 1, "bundles of two lists");
        bundles.pop()
    }

    /// Takes the client and its viewer to another list: `[list, [windows]]`.
    fn switch(
        &mut self,
        what: &Value,
    ) -> Result<(Option<Bundle<u64>>, Option<Request>), WindowError> {
        let request = self.client.switch(texts(&what[1]));
        let specs: Vec<_> = items(&what[1]).map(spec).collect();
        let to = self.list(&what[0]);
        let Listed { list, people, .. } = &mut self.lists[to];
        let bodies = bodies(self.payloads, people);
        let bundle = self.viewer.switch(list, &specs, bodies)?;
        self.at = to;
        Ok((Some(bundle), Some(request)))
    }

    /// Notes a bundle on its way, and its number among the results of the step.
    fn note(
        &mut self,
        bundle: Option<Bundle<u64>>,
        request: Option<Request>,
        is_search: bool,
        fields: &mut Map<String, Value>,
    ) {
        let Some(bundle) = bundle else {
            fields.insert("bundle".into(), Value::Null);
            return;
        };
        if self.format == BundleFormat::Two {
            let binary = hex(&bundle.to_binary_in(self.format));
            fields.insert("binary".into(), binary.into());
        }
        let bundle = value(&bundle, self.format);
        fields.insert("n".into(), self.sent.len().into());
        fields.insert("bundle".into(), bundle.clone());
        self.sent.push(Sent {
            bundle,
            request,
            is_search,
        });
    }

    /// Returns the index of the list of this name.
    fn list(&self, name: &Value) -> usize {
        let mut lists = self.lists.iter();
        let at = lists.position(|listed| listed.name == text(name));
        at.expect("a list of this vector")
    }

    fn operate(&mut self, at: usize, op: &Value) {
        let Listed { list, people, .. } = &mut self.lists[at];
        let group = |list: &MemberList<u64>, at: usize| list.group(text(&op[at])).expect("known");
        let id: u64 = op[1].as_str().and_then(|id| id.parse().ok()).unwrap_or(0);
        match text(&op[0]) {
            "upsert" => {
                let name = text(&op[3]);
                let group = group(list, 2);
                let key = SortKey::from_name(name);
                list.upsert(id, group, &key, number(&op[4]) as u32)
                    .expect("known group");
                let name = name.into();
                people.0.insert(id, Person { name, status: None });
                self.write_payload(at, id);
            }
            "remove" => drop(list.remove(&id)),
            "set_group" => drop(list.set_group(&id, group(list, 2)).expect("known")),
            "rename" => {
                let name = text(&op[2]);
                list.set_key(&id, &SortKey::from_name(name)).expect("known");
                people.0.get_mut(&id).expect("known").name = name.into();
                self.revise(at, id, NAME);
            }
            "status" => {
                let status = op[2].as_str().map(|status| match status {
                    "idle" => "idle",
                    "dnd" => "dnd",
                    other => panic!("status {other}"),
                });
                people.0.get_mut(&id).expect("known").status = status;
                self.revise(at, id, STATUS);
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
                list.begin_epoch(text(&op[1]), epoch)
                    .expect("a higher epoch");
            }
            other => panic!("operation {other}"),
        }
    }

    /// Changes a part of a body: in its source, or in the payload.
    fn revise(&mut self, at: usize, id: u64, fields: Fields) {
        if self.payloads {
            self.write_payload(at, id);
        } else {
            let list = &mut self.lists[at].list;
            list.touch_fields(&id, fields).expect("known");
        }
    }

    fn write_payload(&mut self, at: usize, id: u64) {
        if self.payloads {
            let Listed { list, people, .. } = &mut self.lists[at];
            let Person { name, status } = &people.0[&id];
            let mut body = json!({ "name": name });
            if let Some(status) = status {
                body["status"] = json!(status);
            }
            list.set_payload(&id, Bytes::from(body.to_string()))
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
                let mut shown = json!({
                    "version": window.version(),
                    "base_index": window.base_index(),
                    "waiting": window.is_waiting(),
                    "rows": rows,
                });
                if let Some(matches) = window.matches() {
                    shown["matches"] = json!(matches);
                }
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

fn bodies(payloads: bool, people: &People) -> Bodies<'_, u64> {
    match payloads {
        true => Bodies::Payloads(BodyFormat::Json),
        false => Bodies::from(people),
    }
}

/// Returns the window of a request `{search, group?, page?}`.
fn search(request: &Value) -> WindowSpec<u64> {
    let prefix = SortKey::from_name(text(&request["search"]));
    let page = request["page"].as_u64().unwrap_or(0) as u32;
    match request["group"].as_str() {
        Some(group) => WindowSpec::search_in(group, &prefix, page),
        None => WindowSpec::search(&prefix, page),
    }
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
        "resume" | "switch" | "renamed-list" => "list-frames-2",
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
    let outcome = ["n", "bundle", "binary", "held", "expect", "error", "window"];
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
            "\"matches\":",
            "\"search\":",
            "\"switch\":",
            "\"reconnect\":",
        ] {
            *seen.entry(what).or_default() += vector.matches(what).count();
        }
    }
    let missing: Vec<_> = seen.iter().filter(|(_, count)| **count == 0).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
