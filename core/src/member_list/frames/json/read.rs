//! Bundles from JSON, checked whole: a bundle that breaks a rule of the page is refused before a
//! client changes anything.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::codec::{DecodeError, DecodeErrorKind};
use crate::member_list::Id;
use crate::member_list::frames::model::{
    Base, Body, BodyChange, Bundle, Counts, CountsTable, Epoch, Frame, FrameChange, FrameRow,
    GroupCount, Insert, InsertSource, MemberChange, RowChange, RowUpdate, Shared, WindowVersion,
};
use crate::member_list::limits::{
    BUNDLE_FRAMES_MAX, GROUPS_MAX, VIEWER_WINDOWS_MAX, WINDOW_ROWS_MAX,
};

impl<I: Id> Bundle<I> {
    /// Reads what [`to_json`](Self::to_json) wrote. O(length).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the text is not JSON, lacks a field, has a value of another type, or
    /// exceeds a limit: 64 frames, 8 windows, 500 rows, 4,096 groups, bodies nested 128 deep.
    pub fn from_json(json: &[u8]) -> Result<Self, DecodeError> {
        let Checked(bundle) =
            serde_json::from_slice(json).map_err(|error| located(json, &error))?;
        Ok(bundle)
    }
}

/// Lays a patch over a body, both JSON: fields of `patch` replace those of `body`, `null` removes.
/// A body that is not an object counts as an empty one. A
/// [`Merge`](crate::member_list::client::Merge) for clients of bundles in JSON.
#[must_use]
pub fn merge_json(body: &[u8], patch: &[u8]) -> Vec<u8> {
    let read = |json| serde_json::from_slice::<Fields<'_>>(json).unwrap_or_default();
    let mut fields = read(body).0;
    for (name, value) in read(patch).0 {
        let place = fields.iter().position(|(known, _)| *known == name);
        match (place, value.get()) {
            (Some(place), "null") => drop(fields.remove(place)),
            (None, "null") => {}
            (Some(place), _) => fields[place].1 = value,
            (None, _) => fields.push((name, value)),
        }
    }
    let mut out = super::Out(Vec::with_capacity(body.len() + patch.len()));
    out.text("{");
    out.join(&fields, |out, (name, value)| {
        out.string(name);
        out.text(":");
        out.text(value.get());
    });
    out.text("}");
    out.0
}

/// Turns an error of `serde_json`, which names line and column, into one with an offset.
fn located(json: &[u8], error: &serde_json::Error) -> DecodeError {
    let lines = json.split_inclusive(|&byte| byte == b'\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let offset = (before + error.column().saturating_sub(1)).min(json.len());
    let kind = match error.classify() {
        Category::Eof => DecodeErrorKind::Truncated,
        _ => {
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default();
            DecodeErrorKind::Json { what: what.into() }
        }
    };
    DecodeError::new(offset, kind)
}

/// A value that is read as its fields, then checked.
trait FromJson: Sized {
    type Fields<'de>: Deserialize<'de>;

    /// Makes the value of its fields, or returns the rule that they break.
    fn checked(fields: Self::Fields<'_>) -> Result<Self, &'static str>;
}

struct Checked<T>(T);

impl<'de, T: FromJson> Deserialize<'de> for Checked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::checked(T::Fields::deserialize(deserializer)?)
            .map(Self)
            .map_err(D::Error::custom)
    }
}

/// An array of at most `MAX` values; the error comes at the first value too many.
struct UpTo<const MAX: usize, T>(Vec<T>);

impl<const MAX: usize, T> Default for UpTo<MAX, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<const MAX: usize, T> UpTo<MAX, T> {
    fn map<U>(self, f: impl FnMut(T) -> U) -> Vec<U> {
        self.0.into_iter().map(f).collect()
    }
}

impl<const MAX: usize, T> UpTo<MAX, Checked<T>> {
    fn values(self) -> Vec<T> {
        self.map(|Checked(value)| value)
    }
}

impl<'de, const MAX: usize, T: Deserialize<'de>> Deserialize<'de> for UpTo<MAX, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items::<MAX, T>(PhantomData))
    }
}

struct Items<const MAX: usize, T>(PhantomData<T>);

impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Items<MAX, T> {
    type Value = UpTo<MAX, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {MAX} values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            if items.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            items.push(item);
        }
        Ok(UpTo(items))
    }
}

/// The fields of an object in their order, values unread.
#[derive(Default)]
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A text, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// An id in its text form.
struct IdText<I>(I);

impl<'de, I: Id> Deserialize<'de> for IdText<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Name(text) = Name::deserialize(deserializer)?;
        I::parse_text(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom("not an id of this list"))
    }
}

/// Reads a field that is there; `null` is a value of it.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Returns the text of a body, unless it nests too deep for the parsers of a client.
fn body(json: &RawValue) -> Result<Bytes, &'static str> {
    let json = json.get().as_bytes();
    if Body::is_too_deep(json) {
        return Err("a body nests too deep");
    }
    Ok(Bytes::copy_from_slice(json))
}

#[derive(Deserialize)]
#[serde(bound(deserialize = ""))]
struct BundleFields<I: Id> {
    format: Option<u64>,
    list: Arc<str>,
    epoch: EpochFields,
    version: u64,
    frames: UpTo<BUNDLE_FRAMES_MAX, Checked<Frame<I>>>,
    counts: Option<Checked<Counts>>,
    #[serde(default)]
    bases: UpTo<BUNDLE_FRAMES_MAX, BaseFields>,
    #[serde(default)]
    windows: UpTo<VIEWER_WINDOWS_MAX, HeldFields>,
}

/// An epoch, in format 1 a number.
enum EpochFields {
    One(u64),
    Two(EpochOfNode),
}

#[derive(Deserialize)]
struct EpochOfNode {
    node: Arc<str>,
    number: u64,
}

struct EpochVisitor;

impl<'de> Visitor<'de> for EpochVisitor {
    type Value = EpochFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an epoch: a number from 0, or node and number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<EpochFields, E> {
        Ok(EpochFields::One(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EpochFields, A::Error> {
        EpochOfNode::deserialize(MapAccessDeserializer::new(map)).map(EpochFields::Two)
    }
}

impl<'de> Deserialize<'de> for EpochFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EpochVisitor)
    }
}

/// A window of the viewer, in format 1 its name.
struct HeldFields {
    window: Arc<str>,
    version: Option<u64>,
}

#[derive(Deserialize)]
struct HeldVersion {
    window: Arc<str>,
    version: u64,
}

struct HeldVisitor;

impl<'de> Visitor<'de> for HeldVisitor {
    type Value = HeldFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a window: a name, or window and version")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<HeldFields, E> {
        Ok(HeldFields {
            window: name.into(),
            version: None,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HeldFields, A::Error> {
        let held = HeldVersion::deserialize(MapAccessDeserializer::new(map))?;
        Ok(HeldFields {
            window: held.window,
            version: Some(held.version),
        })
    }
}

impl<'de> Deserialize<'de> for HeldFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeldVisitor)
    }
}

#[derive(Deserialize)]
struct BaseFields {
    window: Arc<str>,
    base_index: u64,
}

impl<I: Id> FromJson for Bundle<I> {
    type Fields<'de> = BundleFields<I>;

    fn checked(fields: BundleFields<I>) -> Result<Self, &'static str> {
        let epoch = match (fields.format, fields.epoch) {
            (None | Some(1), EpochFields::One(number)) => Epoch::from(number),
            (Some(2), EpochFields::Two(EpochOfNode { node, number })) => Epoch { node, number },
            (None | Some(1 | 2), _) => return Err("an epoch of another format"),
            (Some(_), _) => return Err("a bundle of an unknown format"),
        };
        let is_two = fields.format == Some(2);
        let windows = fields
            .windows
            .map(|HeldFields { window, version }| WindowVersion { window, version });
        if windows.iter().any(|held| held.version.is_some() != is_two) {
            return Err("a window of another format");
        }
        Ok(Self {
            list: fields.list,
            epoch,
            version: fields.version,
            frames: fields
                .frames
                .map(|Checked(frame)| Arc::new(Shared::new(frame))),
            counts: fields
                .counts
                .map(|Checked(counts)| Arc::new(Shared::new(counts))),
            bases: fields.bases.map(|base| Base {
                window: base.window,
                base_index: base.base_index,
            }),
            windows,
        })
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = ""))]
struct FrameFields<I: Id> {
    window: Arc<str>,
    renamed: Option<Arc<str>>,
    base_version: u64,
    new_version: u64,
    base_index: u64,
    checksum32: u32,
    matches: Option<u64>,
    kind: FrameKind,
    rows: Option<UpTo<WINDOW_ROWS_MAX, Checked<FrameRow<I>>>>,
    deletes: Option<UpTo<WINDOW_ROWS_MAX, u32>>,
    inserts: Option<UpTo<WINDOW_ROWS_MAX, Checked<Insert<I>>>>,
    updates: Option<UpTo<WINDOW_ROWS_MAX, Checked<RowUpdate>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FrameKind {
    Sync,
    Delta,
}

impl<I: Id> FromJson for Frame<I> {
    type Fields<'de> = FrameFields<I>;

    fn checked(fields: FrameFields<I>) -> Result<Self, &'static str> {
        let change = match fields.kind {
            FrameKind::Sync => {
                FrameChange::Sync(fields.rows.ok_or("a SYNC without rows")?.values())
            }
            FrameKind::Delta => FrameChange::Delta {
                deletes: fields.deletes.ok_or("a DELTA without deletes")?.0,
                inserts: fields.inserts.ok_or("a DELTA without inserts")?.values(),
                updates: fields.updates.ok_or("a DELTA without updates")?.values(),
            },
        };
        Ok(Self {
            renamed: fields.renamed,
            base_version: fields.base_version,
            new_version: fields.new_version,
            base_index: fields.base_index,
            checksum32: fields.checksum32,
            matches: fields.matches,
            ..Self::new(fields.window, change)
        })
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct RowFields<'a, I: Id> {
    group: Option<Arc<str>>,
    count: Option<u32>,
    id: Option<IdText<I>>,
    revision: Option<u32>,
    attrs: Option<u32>,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
}

impl<I: Id> FromJson for FrameRow<I> {
    type Fields<'de> = RowFields<'de, I>;

    fn checked(fields: RowFields<'_, I>) -> Result<Self, &'static str> {
        match (fields.group, fields.id) {
            (Some(group), None) => Ok(Self::Header {
                group,
                count: fields.count.ok_or("a header without a count")?,
            }),
            (None, Some(IdText(id))) => Ok(Self::Member {
                id,
                revision: fields.revision.ok_or("a member without a revision")?,
                attrs: fields.attrs.unwrap_or(0),
                body: fields.body.map(body).transpose()?.map(Body::Json),
            }),
            _ => Err("a row has either a group or an id"),
        }
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct InsertFields<'a, I: Id> {
    index: u32,
    row: Option<Checked<FrameRow<I>>>,
    r#move: Option<IdText<I>>,
    revision: Option<u32>,
    attrs: Option<u32>,
    #[serde(borrow, default, deserialize_with = "present")]
    patch: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
}

impl<I: Id> FromJson for Insert<I> {
    type Fields<'de> = InsertFields<'de, I>;

    fn checked(fields: InsertFields<'_, I>) -> Result<Self, &'static str> {
        let source = match (fields.row, fields.r#move) {
            (Some(Checked(row)), None) => InsertSource::Row(row),
            (None, Some(IdText(id))) => {
                let is_changed =
                    fields.attrs.is_some() || fields.patch.is_some() || fields.body.is_some();
                let change = match fields.revision {
                    Some(revision) => {
                        Some(change(revision, fields.attrs, fields.patch, fields.body)?)
                    }
                    None if is_changed => return Err("a change without a revision"),
                    None => None,
                };
                InsertSource::Move { id, change }
            }
            _ => return Err("an insert has either a row or a move"),
        };
        Ok(Self {
            index: fields.index,
            source,
        })
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct UpdateFields<'a> {
    index: u32,
    count: Option<u32>,
    revision: Option<u32>,
    attrs: Option<u32>,
    #[serde(borrow, default, deserialize_with = "present")]
    patch: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
}

impl FromJson for RowUpdate {
    type Fields<'de> = UpdateFields<'de>;

    fn checked(fields: UpdateFields<'_>) -> Result<Self, &'static str> {
        let change = match (fields.count, fields.revision) {
            (Some(count), None) => RowChange::Count(count),
            (None, Some(revision)) => {
                RowChange::Member(change(revision, fields.attrs, fields.patch, fields.body)?)
            }
            _ => return Err("an update has either a count or a revision"),
        };
        Ok(Self {
            index: fields.index,
            change,
        })
    }
}

fn change(
    revision: u32,
    attrs: Option<u32>,
    patch: Option<&RawValue>,
    whole: Option<&RawValue>,
) -> Result<MemberChange, &'static str> {
    let body = match (patch, whole) {
        (None, None) => BodyChange::Same,
        (Some(patch), None) if patch.get().starts_with('{') => BodyChange::Patch(body(patch)?),
        (Some(_), None) => return Err("a patch is an object"),
        (None, Some(whole)) => BodyChange::Whole(Body::Json(body(whole)?)),
        (Some(_), Some(_)) => return Err("a change has a patch or a body, not both"),
    };
    Ok(MemberChange {
        revision,
        attrs,
        body,
    })
}

#[derive(Deserialize)]
struct CountsFields {
    version: u64,
    base_version: Option<u64>,
    rows: u64,
    members: u64,
    headers: Option<bool>,
    groups: Option<UpTo<GROUPS_MAX, GroupFields>>,
    changed: Option<UpTo<GROUPS_MAX, GroupFields>>,
}

#[derive(Deserialize)]
struct GroupFields {
    group: Arc<str>,
    count: u32,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    collapsed: bool,
}

impl FromJson for Counts {
    type Fields<'de> = CountsFields;

    fn checked(fields: CountsFields) -> Result<Self, &'static str> {
        let table = match (fields.groups, fields.changed, fields.base_version) {
            (Some(groups), None, None) => CountsTable::Full(groups.map(|group| GroupCount {
                group: group.group,
                count: group.count,
                hidden: group.hidden,
                collapsed: group.collapsed,
            })),
            (None, Some(changed), Some(base_version)) => CountsTable::Delta {
                base_version,
                changed: changed.map(|group| (group.group, group.count)),
            },
            _ => return Err("counts have either groups, or changed and a base_version"),
        };
        Ok(Self {
            version: fields.version,
            rows: fields.rows,
            members: fields.members,
            headers: fields.headers.unwrap_or(true),
            table,
        })
    }
}
