//! The verbs that `Tracker`, `Presence` and `NodeBase` have in common.

use std::sync::Arc;

use headcount::id::EntryRef;
use headcount::runtime::Node;
use headcount::tracker::Key;
use headcount::{EntryBuf, Presence, TrackError, Tracker};
use pyo3::PyResult;

use crate::entry::Entry;
use crate::error::raise;
use crate::keys::Keys;

/// The approximate number of bytes that a copy of an entry takes.
pub(crate) const ENTRY_LEN: usize = 256;

/// Reads, the same of a tracker, a presence and a node.
pub(crate) trait Reads {
    fn copy_list(&self, topic: &str) -> PyResult<Vec<Entry>>;
    fn copy_sessions(&self, topic: &str, key: Key<'_>) -> PyResult<Vec<Entry>>;
    fn has_sessions(&self, topic: &str, key: Key<'_>) -> PyResult<bool>;
    fn copy_own(&self, topic: &str, key: Key<'_>, owner: &[u8]) -> Option<Entry>;
    fn count_own_entries(&self, topic: &str) -> usize;
    /// Counts the entries that are held.
    fn count_held(&self, topic: &str) -> PyResult<usize>;
    fn count_entries(&self, topic: &str) -> PyResult<usize>;
    fn count_distinct_keys(&self, topic: &str) -> PyResult<Keys>;
}

impl Reads for Tracker {
    fn copy_list(&self, topic: &str) -> PyResult<Vec<Entry>> {
        Ok(collect(topic, self.list(topic)))
    }

    fn copy_sessions(&self, topic: &str, key: Key<'_>) -> PyResult<Vec<Entry>> {
        Ok(collect(topic, self.get_by_key(topic, key)))
    }

    fn has_sessions(&self, topic: &str, key: Key<'_>) -> PyResult<bool> {
        Ok(self.get_by_key(topic, key).next().is_some())
    }

    fn copy_own(&self, topic: &str, key: Key<'_>, owner: &[u8]) -> Option<Entry> {
        let own = self.get_own(topic, key, owner);
        own.map(|entry| Entry::new(topic.into(), entry))
    }

    fn count_own_entries(&self, topic: &str) -> usize {
        self.count_own(topic)
    }

    fn count_held(&self, topic: &str) -> PyResult<usize> {
        Ok(self.count(topic))
    }

    fn count_entries(&self, topic: &str) -> PyResult<usize> {
        Ok(self.count(topic))
    }

    fn count_distinct_keys(&self, topic: &str) -> PyResult<Keys> {
        let count = self.count_keys(topic);
        let keys = headcount::Keys {
            at_least: count,
            at_most: count,
        };
        Ok(keys.into())
    }
}

impl Reads for Presence {
    fn copy_list(&self, topic: &str) -> PyResult<Vec<Entry>> {
        Ok(collect(topic, self.list(topic).map_err(raise)?))
    }

    fn copy_sessions(&self, topic: &str, key: Key<'_>) -> PyResult<Vec<Entry>> {
        Ok(collect(topic, self.get_by_key(topic, key).map_err(raise)?))
    }

    fn has_sessions(&self, topic: &str, key: Key<'_>) -> PyResult<bool> {
        let read = self.read(topic, |tracker| {
            tracker.get_by_key(topic, key).next().is_some()
        });
        read.map_err(raise)
    }

    fn copy_own(&self, topic: &str, key: Key<'_>, owner: &[u8]) -> Option<Entry> {
        let own = self.get_own(topic, key, owner);
        own.map(|entry| Entry::new(topic.into(), entry))
    }

    fn count_own_entries(&self, topic: &str) -> usize {
        self.count_own(topic)
    }

    fn count_held(&self, topic: &str) -> PyResult<usize> {
        let read = self.read(topic, |tracker| tracker.count(topic));
        read.map_err(raise)
    }

    fn count_entries(&self, topic: &str) -> PyResult<usize> {
        self.count(topic).map_err(raise)
    }

    fn count_distinct_keys(&self, topic: &str) -> PyResult<Keys> {
        let keys = self.count_keys(topic).map_err(raise)?;
        Ok(keys.into())
    }
}

impl Reads for Node {
    fn copy_list(&self, topic: &str) -> PyResult<Vec<Entry>> {
        self.presence().copy_list(topic)
    }

    fn copy_sessions(&self, topic: &str, key: Key<'_>) -> PyResult<Vec<Entry>> {
        self.presence().copy_sessions(topic, key)
    }

    fn has_sessions(&self, topic: &str, key: Key<'_>) -> PyResult<bool> {
        self.presence().has_sessions(topic, key)
    }

    fn copy_own(&self, topic: &str, key: Key<'_>, owner: &[u8]) -> Option<Entry> {
        self.presence().copy_own(topic, key, owner)
    }

    fn count_own_entries(&self, topic: &str) -> usize {
        self.presence().count_own_entries(topic)
    }

    fn count_held(&self, topic: &str) -> PyResult<usize> {
        self.presence().count_held(topic)
    }

    fn count_entries(&self, topic: &str) -> PyResult<usize> {
        self.presence().count_entries(topic)
    }

    fn count_distinct_keys(&self, topic: &str) -> PyResult<Keys> {
        self.presence().count_distinct_keys(topic)
    }
}

/// Gives a class the verbs that make and end entries. `NodeBase` has its own, with leases, which a stop ends.
macro_rules! making_verbs {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            /// Track an entry and return its reference. O(1).
            ///
            /// Raises `AlreadyTracked` when this topic, key and owner are tracked, `LimitError` when
            /// something is too long.
            #[pyo3(signature = (topic, key, owner, meta = Meta::empty(), *, status = 0))]
            fn track(
                &self,
                py: Python<'_>,
                topic: &str,
                key: Name,
                owner: Name,
                meta: Meta,
                status: u8,
            ) -> PyResult<String> {
                let entry = new_entry(topic, (&key, &owner), &meta, status)?;
                reference(self.core.write(py, |entries| entries.track(&entry))?)
            }

            /// Track an entry, or update it when it is tracked, as `update` does. O(1).
            #[pyo3(signature = (topic, key, owner, meta = Meta::empty(), *, status = None))]
            fn upsert(
                &self,
                py: Python<'_>,
                topic: &str,
                key: Name,
                owner: Name,
                meta: Meta,
                status: Option<u8>,
            ) -> PyResult<String> {
                let entry = new_entry(topic, (&key, &owner), &meta, status.unwrap_or(0))?;
                reference(self.core.write(py, |entries| {
                    let own = || entries.get_own(topic, key.as_key(), owner.as_bytes());
                    let kept = status.or_else(|| own().map(|entry| entry.status()));
                    entries.upsert(&entry.status(kept.unwrap_or(0)))
                })?)
            }

            /// Remove one of this replica's entries; return whether it was tracked. O(1).
            fn untrack(
                &self,
                py: Python<'_>,
                topic: &str,
                key: Name,
                owner: Name,
            ) -> PyResult<bool> {
                self.core.write(py, |entries| {
                    entries.untrack(topic, key.as_key(), owner.as_bytes())
                })
            }

            /// Remove all entries of an owner, in all topics; return how many. O(its entries).
            fn untrack_owner(&self, py: Python<'_>, owner: Name) -> PyResult<usize> {
                self.core
                    .write_long(py, |entries| entries.untrack_owner(owner.as_bytes()))
            }
        }
    };
}
pub(crate) use making_verbs;

/// Gives a class the other verbs of entries. Its field `core` is a `Locked`, `Detached` or `Running` value of the crate
/// that has them.
macro_rules! entry_verbs {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            /// Replace the meta of a tracked entry, and its status if one is given; return the
            /// reference of the new version. O(1).
            ///
            /// Raises `NotTracked` when there is no such entry.
            #[pyo3(signature = (topic, key, owner, meta = Meta::empty(), *, status = None))]
            fn update(
                &self,
                py: Python<'_>,
                topic: &str,
                key: Name,
                owner: Name,
                meta: Meta,
                status: Option<u8>,
            ) -> PyResult<String> {
                let entry = new_entry(topic, (&key, &owner), &meta, status.unwrap_or(0))?;
                reference(self.core.write(py, |entries| {
                    let own = || entries.get_own(topic, key.as_key(), owner.as_bytes());
                    let kept = status.or_else(|| own().map(|entry| entry.status()));
                    entries.update(&entry.status(kept.unwrap_or(0)))
                })?)
            }

            /// Return the visible entries of a topic, in no particular order. O(entries of the topic).
            ///
            /// Raises `MemoryError` when there is no room for them.
            fn list<'py>(
                &self,
                py: Python<'py>,
                topic: &str,
            ) -> PyResult<Bound<'py, ::pyo3::types::PyList>> {
                let held = self.core.read(py, |entries| entries.count_held(topic))??;
                room_for(held, ENTRY_LEN)?;
                let entries = self
                    .core
                    .read_long(py, |entries| entries.copy_list(topic))??;
                $crate::bounds::list(py, entries)
            }

            /// Return the visible entries of a key in a topic. O(entries of the key).
            fn get_by_key<'py>(
                &self,
                py: Python<'py>,
                topic: &str,
                key: Name,
            ) -> PyResult<Bound<'py, ::pyo3::types::PyList>> {
                let read = self
                    .core
                    .read(py, |entries| entries.copy_sessions(topic, key.as_key()));
                $crate::bounds::list(py, read??)
            }

            /// Return an entry of this replica, `None` if it is not tracked. The topic need not be
            /// watched. O(1).
            fn get_own(
                &self,
                py: Python<'_>,
                topic: &str,
                key: Name,
                owner: Name,
            ) -> PyResult<Option<$crate::entry::Entry>> {
                self.core.read(py, |entries| {
                    entries.copy_own(topic, key.as_key(), owner.as_bytes())
                })
            }

            /// Return how many entries this replica tracks in a topic, which need not be watched.
            /// O(replicas).
            fn count_own(&self, py: Python<'_>, topic: &str) -> PyResult<usize> {
                self.core
                    .read(py, |entries| entries.count_own_entries(topic))
            }

            /// Return how many visible entries a topic has: of those that are held, or by what each replica
            /// counts, where its counts are watched. O(replicas).
            fn count(&self, py: Python<'_>, topic: &str) -> PyResult<usize> {
                self.core.read(py, |entries| entries.count_entries(topic))?
            }

            /// Return how many distinct visible keys a topic has, as bounds: equal ones where its entries are
            /// held. O(replicas); while a replica is hidden, the first call after a change is O(entries of the
            /// topic).
            fn count_keys(&self, py: Python<'_>, topic: &str) -> PyResult<Keys> {
                self.core
                    .read(py, |entries| entries.count_distinct_keys(topic))?
            }

            fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
                self.core.read(py, |entries| entries.len())
            }

            fn __contains__(
                &self,
                py: Python<'_>,
                topic_and_key: &Bound<'_, PyAny>,
            ) -> PyResult<bool> {
                let Ok((topic, key)) = topic_and_key.extract::<(String, Name)>() else {
                    return Ok(false);
                };
                self.core
                    .read(py, |entries| entries.has_sessions(&topic, key.as_key()))?
            }
        }
    };
}
pub(crate) use entry_verbs;

/// Returns the text of the reference of a written entry.
pub(crate) fn reference(written: Result<EntryRef, TrackError>) -> PyResult<String> {
    written
        .map(|entry_ref| entry_ref.to_string())
        .map_err(raise)
}

/// Copies entries of a topic.
fn collect<E: Into<EntryBuf>>(topic: &str, entries: impl IntoIterator<Item = E>) -> Vec<Entry> {
    let topic: Arc<str> = topic.into();
    let entries = entries.into_iter();
    entries
        .map(|entry| Entry::new(Arc::clone(&topic), entry.into()))
        .collect()
}
