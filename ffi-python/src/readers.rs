//! `Readers`: the feeds of changes of a node in mode `interest`, which end with the last watch of their topic.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use headcount::ReadError;
use headcount::runtime::{Node, Watch};
use parking_lot::Mutex;

use crate::feed::Reader;

/// The feeds of each topic, by their numbers. A lock is held while a watch or a feed begins or ends, so that no feed
/// misses the end of the last watch of its topic.
#[derive(Default)]
pub(crate) struct Readers(Mutex<HashMap<Arc<str>, ByNumber>>);

type ByNumber = HashMap<u64, Weak<Reader>>;

/// The place of a feed among the readers.
pub(crate) struct Place {
    readers: Arc<Readers>,
    topic: Arc<str>,
}

impl Readers {
    /// Begins a watch.
    pub(crate) fn watch(&self, begin: impl FnOnce() -> Watch) -> Watch {
        let _held = self.0.lock();
        begin()
    }

    /// Ends a watch. After the last one of its topic changes are missed: the feeds of the topic end.
    pub(crate) fn unwatch(&self, node: &Node, watch: Watch) {
        let mut topics = self.0.lock();
        let topic = watch.topic().to_owned();
        drop(watch);
        let readable = node.presence().check_readable(&topic);
        let ended = match readable {
            Err(ReadError::NotWatched { .. }) => topics.remove(&*topic),
            _ => None,
        };
        drop(topics);
        let ended = ended.unwrap_or_default().into_values();
        ended
            .filter_map(|reader| reader.upgrade())
            .for_each(|reader| reader.end());
    }

    /// Adds the feed that `begin` makes, if it makes one.
    pub(crate) fn add<E>(
        self: &Arc<Self>,
        topic: &str,
        begin: impl FnOnce() -> Result<Arc<Reader>, E>,
    ) -> Result<(Arc<Reader>, Place), E> {
        let mut topics = self.0.lock();
        let reader = begin()?;
        let topic: Arc<str> = topic.into();
        let named = topics.entry(Arc::clone(&topic)).or_default();
        named.insert(reader.number(), Arc::downgrade(&reader));
        let readers = Arc::clone(self);
        Ok((reader, Place { readers, topic }))
    }
}

impl Place {
    /// Forgets a feed that has ended.
    pub(crate) fn leave(&self, number: u64) {
        let mut topics = self.readers.0.lock();
        if let Some(named) = topics.get_mut(&*self.topic) {
            named.remove(&number);
            if named.is_empty() {
                topics.remove(&*self.topic);
            }
        }
    }
}
