//! `Rosters`: a roster for each topic that a user of a node follows, fed by its Diffs. It must show
//! what the node lists.

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};

use crate::member_list::{ListOptions, MemberList, SortKey, TextId};
use crate::presence::Presence;
use crate::roster::{Placement, Roster, RosterOptions, RosterReport, Status};
use crate::tracker::{EntryBuf, TopicDiff};

/// Rosters by topic. Those of a copy begin with the lists.
#[derive(Default)]
pub(super) struct Rosters {
    topics: HashMap<String, Roster<TextId>>,
    /// The topics of which something has changed since they were compared.
    changed: HashSet<String>,
    /// True until the lists are read once.
    is_behind: bool,
}

impl Clone for Rosters {
    fn clone(&self) -> Self {
        Self {
            topics: HashMap::new(),
            changed: HashSet::new(),
            is_behind: true,
        }
    }
}

fn roster() -> Roster<TextId> {
    let mut list = MemberList::new(ListOptions::default());
    let group = list.set_groups(&["online"]).expect("it is one group")[0];
    let placement = move |entry: &EntryBuf| {
        let key = SortKey::from_name(entry.key_str().unwrap_or_default());
        Placement::new(Status::Online).group(group).key(key)
    };
    Roster::new(list, RosterOptions::default(), placement)
}

fn check(report: &RosterReport<TextId>) -> Result<(), String> {
    // Altered keys are no names.
    if report.refused.is_empty() {
        Ok(())
    } else {
        Err(format!("has entries that its roster refuses: {report:?}"))
    }
}

impl Rosters {
    /// Applies a Diff of a topic.
    pub(super) fn apply(&mut self, diff: &TopicDiff) -> Result<(), String> {
        if self.is_behind {
            return Ok(());
        }
        self.changed.get_or_insert_with(&*diff.topic, str::to_owned);
        let topic = self.topics.entry_ref(&*diff.topic);
        check(&topic.or_insert_with(roster).apply(diff, 0))
    }

    /// Begins to follow a topic by its list.
    pub(super) fn begin(&mut self, topic: &str, entries: &[EntryBuf]) -> Result<(), String> {
        if self.is_behind {
            return Ok(());
        }
        self.changed.get_or_insert_with(topic, str::to_owned);
        let roster = self.topics.entry_ref(topic).or_insert_with(roster);
        check(&roster.reset(entries, 0))
    }

    /// Ends to follow a topic.
    pub(super) fn end(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// Compares the rosters with what a node lists in these topics: those of which something has
    /// changed, since the lists of the others are what they were.
    pub(super) fn compare(
        &mut self,
        presence: &Presence,
        topics: impl Iterator<Item = &'static str>,
    ) -> Result<(), String> {
        let is_behind = std::mem::take(&mut self.is_behind);
        for topic in topics {
            if !self.changed.remove(topic) && !is_behind {
                continue;
            }
            let mut entries = Vec::new();
            presence.for_each_held(topic, |entry| entries.push(entry.to_buf()));
            if is_behind {
                self.begin(topic, &entries)?;
            }
            let is_name = |key: &&str| key.parse::<TextId>().is_ok();
            let keys = entries.iter().filter_map(EntryBuf::key_str);
            let users: BTreeSet<_> = keys.filter(is_name).collect();
            let Some(roster) = self.topics.get(topic) else {
                if users.is_empty() {
                    continue;
                }
                return Err(format!("lists {users:?} in {topic}, without a roster"));
            };
            let is_online = |user: &&str| {
                let id = user.parse::<TextId>();
                id.is_ok_and(|id| roster.status(&id) == Status::Online)
            };
            let shown = users.iter().copied().filter(is_online).count();
            // One row is the header, unless nobody is there.
            let rows = users.len() + usize::from(!users.is_empty());
            let is_equal = shown == users.len()
                && roster.online_count() == users.len()
                && roster.list().len() == rows;
            if !is_equal {
                return Err(format!(
                    "lists {users:?} in {topic}, its roster has {} of {}",
                    shown,
                    roster.online_count()
                ));
            }
        }
        Ok(())
    }
}
