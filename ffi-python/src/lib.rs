//! The extension under the Python package `headcount`.

#![expect(
    clippy::needless_pass_by_value,
    reason = "PyO3 hands arguments over by value"
)]

mod batch;
mod bounds;
mod bridge;
mod client;
mod collation;
mod convert;
mod detached_drop;
mod diff;
mod entry;
mod error;
mod event;
mod feed;
mod files;
mod group_name;
mod held_windows;
mod id;
mod item;
mod json;
mod keys;
mod list_or_roster;
mod list_writes;
mod mapped;
mod member_list;
mod network;
mod node;
mod prefix;
mod presence;
mod ranked;
mod ready;
mod replica;
mod roster;
mod row;
mod running;
mod saves;
mod snapshot;
mod sorted_set;
mod stats;
mod sync;
mod table;
mod tracker;
mod verbs;
mod viewer;
mod watch;
mod windows;

/// The compiled half of the package `headcount`.
#[pyo3::pymodule(gil_used = false)]
mod _headcount {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::sync::watch_forks(module)
    }

    #[pymodule_export]
    use super::batch::{BatchReport, BulkReport};
    #[pymodule_export]
    use super::bridge::Bridge;
    #[pymodule_export]
    use super::client::{BundleReport, Client, Request, Window};
    #[pymodule_export]
    use super::collation::Collation;
    #[pymodule_export]
    use super::diff::{Diff, Leave, TopicDiff, Update};
    #[pymodule_export]
    use super::entry::Entry;
    #[pymodule_export]
    use super::event::{Event, GroupSubscription, Signal, Transmit};
    #[pymodule_export]
    use super::feed::Feed;
    #[pymodule_export]
    use super::keys::Keys;
    #[pymodule_export]
    use super::list_writes::Upsert;
    #[pymodule_export]
    use super::member_list::MemberList;
    #[pymodule_export]
    use super::network::MemoryNetwork;
    #[pymodule_export]
    use super::node::NodeBase;
    #[pymodule_export]
    use super::presence::Presence;
    #[pymodule_export]
    use super::replica::Replica;
    #[pymodule_export]
    use super::roster::{Roster, RosterReport};
    #[pymodule_export]
    use super::row::{Group, Header, Member};
    #[pymodule_export]
    use super::snapshot::Snapshot;
    #[pymodule_export]
    use super::sorted_set::SortedTree;
    #[pymodule_export]
    use super::table::batch::TableBatchReport;
    #[pymodule_export]
    use super::table::list_view::{ListMove, ListView};
    #[pymodule_export]
    use super::table::spec::{Clause, ListSpec};
    #[pymodule_export]
    use super::table::{MemberTable, TableMember, TableUpsert};
    #[pymodule_export]
    use super::tracker::Tracker;
    #[pymodule_export]
    use super::viewer::Viewer;
    #[pymodule_export]
    use super::watch::WatchHandle;
    #[pymodule_export]
    use super::windows::{Bundle, TableTick, Tick};
}
