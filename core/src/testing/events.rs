//! Events of a node, and the reasons that some must have.

use std::sync::Arc;
use std::time::Duration;

use super::node::Node;
use super::plan::Plan;
use super::run::Run;
use super::stats::Incident;
use super::truth::Truth;
use super::watching::{Beats, Watching};
use crate::id::ReplicaId;
use crate::replica::Event;

/// What a node is ready for now.
#[derive(Default)]
pub(super) struct Ready {
    /// The replicas that are missing, if the node is ready.
    pub(super) node: Option<Vec<ReplicaId>>,
    pub(super) topics: Vec<ReadyTopic>,
}

/// A topic that can be read, or counted.
pub(super) struct ReadyTopic {
    /// The partition of its entries, or of its counts.
    pub(super) partition: u16,
    pub(super) topic: Arc<str>,
    /// The Beats that this rests on.
    pub(super) beats: Beats,
}

/// Takes the events of the node at a place, and checks those that must have a reason. Returns what is
/// ready.
pub(super) fn take(
    run: &mut Run<'_, Plan>,
    truth: &Truth,
    place: usize,
    node: &mut Node,
) -> Result<Ready, String> {
    let own_ms = run.now_ms + node.ahead_ms;
    let mut ready = Ready::default();
    while let Some(event) = node.process.presence.poll_event() {
        if run.is_traced() {
            run.note(|| format!("{place} reports {event:?}"));
        }
        if node.refusals.take(&event)? {
            continue;
        }
        let incident = match event {
            Event::ReplicaUp(_) => Incident::ReplicaUp,
            Event::ReplicaDown(_) => Incident::ReplicaDown,
            Event::ReplicaForgotten(id) => {
                node.reader.note_gone(id, own_ms + run.plan.grace_ms);
                Incident::ReplicaForgotten
            }
            Event::ReplicaLeft(id) => {
                node.admissions.note_left(id, own_ms);
                Incident::ReplicaLeft
            }
            Event::DuplicateName { .. } => Incident::DuplicateName,
            Event::Divergence { origin, partition } => {
                if !truth.may_differ(&origin, partition) {
                    return Err(format!("reports a divergence of {origin}/{partition}"));
                }
                Incident::Divergence
            }
            Event::Refused {
                origin,
                partition,
                error,
                ..
            } => {
                if !truth.may_differ(&origin, partition) {
                    return Err(format!("refuses a frame of {origin}/{partition}: {error}"));
                }
                continue;
            }
            Event::Reincarnated { .. } | Event::SecondSelf { .. } => continue,
            Event::Signal { signal, .. } => {
                node.hear(signal)?;
                continue;
            }
            Event::Ready { missing } => {
                ready.node = Some(missing);
                Incident::Ready
            }
            event => {
                let (topic, incident) = take_topic(&run.plan, node, event)?;
                ready.topics.push(topic);
                incident
            }
        };
        run.count(incident);
    }
    Ok(ready)
}

/// Takes the news that a topic can be read, or counted.
fn take_topic(
    plan: &Plan,
    node: &mut Node,
    event: Event,
) -> Result<(ReadyTopic, Incident), String> {
    let (watching, incident, topic, age, missing): (&mut Watching, _, _, _, _) = match event {
        Event::TopicReady {
            topic,
            age,
            missing,
        } => (
            &mut node.watching,
            Incident::TopicReady,
            topic,
            age,
            missing,
        ),
        Event::CountsReady {
            topic,
            age,
            missing,
        } => (
            &mut node.counting,
            Incident::CountsReady,
            topic,
            age,
            missing,
        ),
        other => return Err(format!("reports {other:?}")),
    };
    let mut beats = watching.take_ready(&topic, &missing)?;
    beats.retain(|beat| !missing.contains(&beat.id));
    if age > Duration::from_millis(plan.down_ms) {
        return Err(format!("is ready by news of {age:?} ago"));
    }
    let partition = watching.partition_of(&topic);
    let topic = ReadyTopic {
        partition,
        topic,
        beats,
    };
    Ok((topic, incident))
}
