//! A process with a node that checks itself (`tests/checked/node.rs`), what it has acknowledged and
//! what it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use super::nats::{Gate, Server};

/// Topic, key, owner of an entry of one node.
pub(crate) type Name = (String, String, String);
/// Meta and status.
pub(crate) type Content = (String, u8);
/// Id of the origin, topic, key, owner: an entry of the cluster.
pub(crate) type Entry = (String, Name);

/// Id of the origin, key, owner, meta, status.
type Row = (String, String, String, String, u8);

/// The state that a node tells: see the program.
#[derive(Deserialize)]
pub(crate) struct State {
    pub(crate) id: String,
    pub(crate) beats: u64,
    lists: BTreeMap<String, Vec<Row>>,
    pub(crate) late: Vec<String>,
    pub(crate) downs: Vec<String>,
    pub(crate) pauses: u64,
}

impl State {
    pub(crate) fn topics(&self) -> impl Iterator<Item = &String> {
        self.lists.keys()
    }

    /// Returns the entries that are shown; one that is shown twice breaks the test.
    pub(crate) fn shown(&self) -> BTreeMap<Entry, Content> {
        let mut shown = BTreeMap::new();
        for (topic, rows) in &self.lists {
            for (origin, key, owner, meta, status) in rows.clone() {
                let entry = (origin, (topic.clone(), key, owner));
                let before = shown.insert(entry, (meta, status));
                assert!(before.is_none(), "{topic:?} has an entry twice: {rows:?}");
            }
        }
        shown
    }
}

/// The settings of all members of a cluster.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) program: String,
    pub(crate) heartbeat_ms: u64,
    pub(crate) down_beats: u64,
    pub(crate) is_interest: bool,
    pub(crate) fault: Option<String>,
}

/// A node with a link of its own to the server.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) gate: Gate,
    pub(crate) topics: Vec<String>,
    /// Its entries, as its answers say: the oracle.
    pub(crate) own: BTreeMap<Name, Content>,
    /// The id that it told last.
    pub(crate) id: String,
    /// Entries that it may never show again.
    pub(crate) gone: BTreeSet<Entry>,
    settings: Settings,
    process: Option<Process>,
}

struct Process {
    child: Server,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Member {
    pub(crate) fn start(settings: &Settings, server: u16, name: &str, topics: &[&str]) -> Self {
        let mut member = Self {
            name: name.to_owned(),
            gate: Gate::new(server),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            own: BTreeMap::new(),
            id: String::new(),
            gone: BTreeSet::new(),
            settings: settings.clone(),
            process: None,
        };
        member.start_process();
        member
    }

    pub(crate) fn start_process(&mut self) {
        let settings = json!({
            "servers": format!("nats://127.0.0.1:{}", self.gate.port),
            "name": self.name,
            "heartbeat_ms": self.settings.heartbeat_ms,
            "down_beats": self.settings.down_beats,
            "topics": self.topics,
            "is_interest": self.settings.is_interest,
            // Every other node has threads; a broken rule is broken on one thread.
            "has_threads": self.settings.fault.is_none() && self.name.len().is_multiple_of(2),
            "fault": self.settings.fault,
        });
        let mut child = Command::new(&self.settings.program)
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was just built");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let child = Server(child);
        let process = self.process.insert(Process {
            child,
            input,
            output,
        });
        assert_eq!(process.line(), "ready");
        self.id = self.state().id;
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.process.is_some()
    }

    /// Kills the process, with all that it had.
    pub(crate) fn kill(&mut self) {
        self.process = None;
        self.own.clear();
        self.gone.clear();
    }

    /// Sends a signal to the process: `STOP` or `CONT`.
    pub(crate) fn signal(&mut self, signal: &str) {
        let id = self.process.as_ref().unwrap().child.0.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn state(&mut self) -> State {
        let state = self.ask(&json!({"verb": "state"}));
        serde_json::from_str(&state).unwrap()
    }

    /// Writes an entry, and notes it once that is acknowledged.
    pub(crate) fn write(&mut self, verb: &str, name: &Name, content: &Content) {
        let (topic, key, owner) = name;
        let (meta, status) = content;
        let answer = self.ask(&json!({
            "verb": verb, "topic": topic, "key": key, "owner": owner, "meta": meta,
            "status": status,
        }));
        let is_there = self.own.contains_key(name);
        assert_eq!(
            answer,
            (is_there != (verb == "track")).to_string(),
            "{verb} {name:?}"
        );
        if verb == "untrack" {
            self.own.remove(name);
        } else if answer == "true" {
            self.own.insert(name.clone(), content.clone());
        }
    }

    fn ask(&mut self, command: &Value) -> String {
        let process = self
            .process
            .as_mut()
            .expect("a process that lives is asked");
        writeln!(process.input, "{command}").unwrap();
        process.line()
    }
}

impl Process {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
