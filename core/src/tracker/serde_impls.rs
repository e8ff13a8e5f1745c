//! Entries, Diffs and version vectors in serde's formats. What is read is checked.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::entry::EntryVersions;
use super::limits::{KEY_LAYOUT_MAX, META_LAYOUT_MAX, OWNER_LAYOUT_MAX};
use super::{Diff, Encoding, Entry, EntryBuf, Key, TopicDiff, VersionVector};
use crate::id::{OP_MAX, Origin};
use crate::text_or_bytes::{self, Plain};

impl Serialize for Key<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut key = serializer.serialize_struct("Key", 2)?;
        key.serialize_field("encoding", &self.encoding)?;
        key.serialize_field("bytes", &Plain(self.bytes))?;
        key.end()
    }
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("Entry", 10)?;
        entry.serialize_field("topic", self.topic())?;
        write_fields(&mut entry, &self.to_buf())?;
        entry.end()
    }
}

impl Serialize for EntryBuf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("EntryBuf", 9)?;
        write_fields(&mut entry, self)?;
        entry.end()
    }
}

fn write_fields<S: SerializeStruct>(out: &mut S, entry: &EntryBuf) -> Result<(), S::Error> {
    out.serialize_field("key", &Plain(entry.key().bytes))?;
    out.serialize_field("owner", &Plain(entry.owner()))?;
    out.serialize_field("meta", &Plain(entry.meta()))?;
    out.serialize_field("encoding", &entry.encoding())?;
    out.serialize_field("status", &entry.status())?;
    out.serialize_field("origin", entry.origin())?;
    out.serialize_field("birth", &entry.birth())?;
    out.serialize_field("version", &entry.version())?;
    out.serialize_field("previous", &entry.previous_version())
}

#[derive(serde::Deserialize)]
#[serde(rename = "EntryBuf")]
struct Fields {
    #[serde(with = "text_or_bytes")]
    key: Vec<u8>,
    #[serde(with = "text_or_bytes")]
    owner: Vec<u8>,
    #[serde(with = "text_or_bytes")]
    meta: Vec<u8>,
    encoding: Encoding,
    status: u8,
    origin: Origin,
    birth: u64,
    version: u64,
    previous: Option<u64>,
}

impl Fields {
    /// Returns what no tracker could have written.
    fn flaw(&self) -> Option<&'static str> {
        let is_text = |bytes| std::str::from_utf8(bytes).is_ok();
        let previous = self.previous.unwrap_or(self.birth);
        if self.encoding == Encoding::Text && !(is_text(&self.key) && is_text(&self.owner)) {
            Some("encoding is text but key or owner is not UTF-8")
        } else if self.key.len() > KEY_LAYOUT_MAX {
            Some("a key has at most 65,535 bytes")
        } else if self.owner.len() > OWNER_LAYOUT_MAX {
            Some("an owner has at most 255 bytes")
        } else if self.meta.len() > META_LAYOUT_MAX {
            Some("a meta has at most 16 MiB")
        } else if self.birth == 0 || self.version < self.birth || self.version >= OP_MAX {
            Some("birth and version are operations from 1 on, below 2^62, in this order")
        } else if self.previous.is_some() && !(self.birth..self.version).contains(&previous) {
            Some("the previous version is between birth and version")
        } else {
            None
        }
    }
}

impl<'de> Deserialize<'de> for EntryBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        if let Some(flaw) = fields.flaw() {
            return Err(D::Error::custom(flaw));
        }
        let entry = Entry {
            topic: "",
            key: &fields.key,
            owner: &fields.owner,
            meta: &fields.meta,
            encoding: fields.encoding,
            status: fields.status,
            versions: EntryVersions {
                birth: fields.birth,
                version: fields.version,
                previous: fields.previous.unwrap_or(0),
            },
            replica: &fields.origin.replica,
            partition: fields.origin.partition,
        };
        Ok(entry.to_buf())
    }
}

impl Serialize for Diff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut diff = serializer.serialize_struct("Diff", 2)?;
        diff.serialize_field("topics", &self.topics)?;
        diff.serialize_field("is_lossy", &self.is_lossy)?;
        diff.end()
    }
}

impl<'de> Deserialize<'de> for Diff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename = "Diff")]
        struct Fields {
            topics: Vec<TopicDiff>,
            is_lossy: bool,
        }
        let Fields { topics, is_lossy } = Fields::deserialize(deserializer)?;
        if !topics.is_sorted_by(|a, b| a.topic < b.topic) {
            return Err(D::Error::custom("topics are sorted, each is there once"));
        }
        if topics.iter().any(TopicDiff::is_empty) {
            return Err(D::Error::custom("a topic without changes"));
        }
        Ok(Self { topics, is_lossy })
    }
}

impl Serialize for VersionVector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for VersionVector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let clocks = Vec::<(Origin, u64)>::deserialize(deserializer)?;
        Ok(clocks.into_iter().collect())
    }
}
