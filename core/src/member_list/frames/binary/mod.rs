//! Bundles as bytes, and back. `core/docs/list-frames.md`, section 8, describes the format.
//!
//! Decoding trusts nothing: lengths are checked against what is there, counts against the limits
//! of windows and groups, and positions can only come in their order.

mod frame;

use std::sync::Arc;

use bytes::Bytes;

use self::frame::{read_frame, write_frame};
use crate::codec::{DecodeError, DecodeErrorKind, Envelope, Kind, Reader, Writer};
use crate::member_list::Id;
use crate::member_list::frames::model::{
    Base, Bundle, BundleFormat, Counts, CountsTable, Epoch, Frame, GroupCount, Shared,
    WindowVersion,
};
use crate::member_list::limits::{
    BUNDLE_FRAMES_MAX, BUNDLE_NAME_MAX, GROUP_NAME_MAX, GROUPS_MAX, VIEWER_WINDOWS_MAX,
};

/// Longest window name: a letter, a prefix of 64 bytes in hex, a number and a group.
const WINDOW_NAME_MAX: usize = 256;
/// Longest frame or counts.
const FRAME_MAX: usize = 1 << 30;

const HAS_COUNTS: u8 = 1;
const HEADERS: u8 = 1;
const COUNTS_DELTA: u8 = 2;
const HIDDEN: u8 = 1;
const COLLAPSED: u8 = 2;

impl<I: Id> Bundle<I> {
    /// Returns the bundle as bytes, in format 1: O(length of the answer).
    #[must_use]
    pub fn to_binary(&self) -> Bytes {
        self.to_binary_in(BundleFormat::One)
    }

    /// Returns the bundle as bytes. Frames and counts are encoded once for all viewers; this puts
    /// them side by side: O(length of the answer).
    #[must_use]
    pub fn to_binary_in(&self, format: BundleFormat) -> Bytes {
        let kind = match format {
            BundleFormat::One => Kind::LIST_BUNDLE,
            BundleFormat::Two => Kind::LIST_BUNDLE_2,
        };
        let mut out = Writer::with_capacity(256);
        out.str(&self.list);
        if format == BundleFormat::Two {
            out.str(&self.epoch.node);
        }
        out.u64(self.epoch.number);
        out.u64(self.version);
        out.u8(if self.counts.is_some() { HAS_COUNTS } else { 0 });
        out.u64(self.frames.len() as u64);
        for frame in &self.frames {
            out.bytes(&frame.binary());
        }
        if let Some(counts) = &self.counts {
            out.bytes(&counts.binary());
        }
        out.u64(self.bases.len() as u64);
        for base in &self.bases {
            out.str(&base.window);
            out.u64(base.base_index);
        }
        out.u64(self.windows.len() as u64);
        for held in &self.windows {
            out.str(&held.window);
            if format == BundleFormat::Two {
                out.u64(held.version.unwrap_or(0));
            }
        }
        Envelope::default().seal(kind, None, out.as_slice()).into()
    }

    /// Reads what [`to_binary`](Self::to_binary) wrote. O(length).
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of the value that is wrong.
    pub fn from_binary(bytes: &[u8]) -> Result<Self, DecodeError> {
        let opened = Envelope::default().open(bytes)?;
        let format = match opened.kind {
            Kind::LIST_BUNDLE => BundleFormat::One,
            Kind::LIST_BUNDLE_2 => BundleFormat::Two,
            Kind(kind) => {
                let kind = DecodeErrorKind::UnexpectedKind { kind };
                return Err(DecodeError::new(4, kind));
            }
        };
        read_bundle(opened.body, format).map_err(|error| error.shifted(opened.body_at))
    }
}

impl<I: Id> Shared<Frame<I>> {
    /// Returns the frame as bytes, encoded at the first call.
    pub fn binary(&self) -> Bytes {
        self.binary_cell().get_or_init(|| write_frame(self)).clone()
    }
}

impl Shared<Counts> {
    /// Returns the counts as bytes, encoded at the first call.
    pub fn binary(&self) -> Bytes {
        self.binary_cell()
            .get_or_init(|| write_counts(self))
            .clone()
    }
}

fn read_bundle<I: Id>(body: &[u8], format: BundleFormat) -> Result<Bundle<I>, DecodeError> {
    let is_two = format == BundleFormat::Two;
    let mut from = Reader::new(body);
    let list = from.str(BUNDLE_NAME_MAX)?.into();
    let node = match is_two {
        true => from.str(BUNDLE_NAME_MAX)?,
        false => "",
    };
    let node = node.into();
    let number = from.u64()?;
    let epoch = Epoch { node, number };
    let version = from.u64()?;
    let flags = flags(&mut from, HAS_COUNTS)?;
    let mut frames = Vec::new();
    for _ in 0..count(&mut from, BUNDLE_FRAMES_MAX)? {
        frames.push(Arc::new(Shared::new(nested(&mut from, read_frame)?)));
    }
    let counts = match flags & HAS_COUNTS {
        0 => None,
        _ => Some(Arc::new(Shared::new(nested(&mut from, read_counts)?))),
    };
    let mut bases = Vec::new();
    for _ in 0..count(&mut from, BUNDLE_FRAMES_MAX)? {
        let window = from.str(WINDOW_NAME_MAX)?.into();
        let base_index = from.u64()?;
        bases.push(Base { window, base_index });
    }
    let mut windows = Vec::new();
    for _ in 0..count(&mut from, VIEWER_WINDOWS_MAX)? {
        let window = from.str(WINDOW_NAME_MAX)?.into();
        let version = is_two.then(|| from.u64()).transpose()?;
        windows.push(WindowVersion { window, version });
    }
    from.finish()?;
    Ok(Bundle {
        list,
        epoch,
        version,
        frames,
        counts,
        bases,
        windows,
    })
}

fn write_counts(counts: &Counts) -> Bytes {
    let mut out = Writer::with_capacity(256);
    let delta = counts.base_version();
    out.u8((u8::from(counts.headers) * HEADERS) | (u8::from(delta.is_some()) * COUNTS_DELTA));
    out.u64(counts.version);
    out.u64(counts.rows);
    out.u64(counts.members);
    match &counts.table {
        CountsTable::Full(groups) => {
            out.u64(groups.len() as u64);
            for group in groups {
                out.str(&group.group);
                out.u64(group.count.into());
                let flags = u8::from(group.hidden) * HIDDEN;
                out.u8(flags | (u8::from(group.collapsed) * COLLAPSED));
            }
        }
        CountsTable::Delta {
            base_version,
            changed,
        } => {
            out.u64(*base_version);
            out.u64(changed.len() as u64);
            for (group, count) in changed {
                out.str(group);
                out.u64((*count).into());
            }
        }
    }
    out.into_vec().into()
}

fn read_counts(from: &mut Reader<'_>) -> Result<Counts, DecodeError> {
    let kind = flags(from, HEADERS | COUNTS_DELTA)?;
    let version = from.u64()?;
    let rows = from.u64()?;
    let members = from.u64()?;
    let table = if kind & COUNTS_DELTA == 0 {
        let mut groups = Vec::new();
        for _ in 0..count(from, GROUPS_MAX)? {
            let group = from.str(GROUP_NAME_MAX)?.into();
            let count = from.u32()?;
            let flags = flags(from, HIDDEN | COLLAPSED)?;
            let hidden = flags & HIDDEN != 0;
            let collapsed = flags & COLLAPSED != 0;
            groups.push(GroupCount {
                group,
                count,
                hidden,
                collapsed,
            });
        }
        CountsTable::Full(groups)
    } else {
        let base_version = from.u64()?;
        let mut changed = Vec::new();
        for _ in 0..count(from, GROUPS_MAX)? {
            changed.push((from.str(GROUP_NAME_MAX)?.into(), from.u32()?));
        }
        CountsTable::Delta {
            base_version,
            changed,
        }
    };
    Ok(Counts {
        version,
        rows,
        members,
        headers: kind & HEADERS != 0,
        table,
    })
}

/// A value with its length before it, which it fills.
fn nested<T>(
    from: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let bytes = from.bytes(FRAME_MAX)?;
    let start = from.offset() - bytes.len();
    let mut inner = Reader::new(bytes);
    read(&mut inner)
        .and_then(|value| inner.finish().map(|()| value))
        .map_err(|error| error.shifted(start))
}

/// Returns how many values follow.
fn count(from: &mut Reader<'_>, max: usize) -> Result<usize, DecodeError> {
    let at = from.offset();
    let len = from.u64()?;
    if len > max as u64 {
        return Err(DecodeError::new(
            at,
            DecodeErrorKind::TooLong {
                len,
                max: max as u64,
            },
        ));
    }
    Ok(len as usize)
}

fn flags(from: &mut Reader<'_>, known: u8) -> Result<u8, DecodeError> {
    let at = from.offset();
    match from.u8()? {
        flags if flags & !known == 0 => Ok(flags),
        _ => Err(Reader::invalid(at, "unknown flags")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::member_list::client::Client;
    use crate::member_list::{
        Bodies, IntId, ListOptions, MemberList, SortKey, TextId, Viewer, WindowSpec,
    };

    /// Bundles of a list with everything in it: rows, moves, patches, counts, bases.
    fn bundles() -> Vec<Bundle<TextId>> {
        bundles_of(|at| TextId::new(&format!("user {at}")).expect("a good id"))
    }

    fn bundles_of<I: Id>(id: impl Fn(usize) -> I) -> Vec<Bundle<I>> {
        let mut list = MemberList::new(ListOptions::default().payloads(true));
        let groups = list
            .set_groups(&["mods", "online", "offline"])
            .expect("good names");
        list.begin_epoch("room:1", 1).expect("a higher epoch");
        let name = |at: usize| SortKey::from_name(&format!("{at:03}"));
        for at in 0..20 {
            list.upsert(id(at), groups[at % 3], &name(at), at as u32 % 2)
                .expect("room");
            let payload = format!(r#"{{"at":{at}}}"#);
            list.set_payload(&id(at), payload.into()).expect("payloads");
        }
        let mut viewer = Viewer::new();
        let bodies = Bodies::Payloads(Default::default());
        let mut bundles = Vec::new();
        for spec in [WindowSpec::Chunk(0), WindowSpec::anchored(id(10), 3, 3)] {
            bundles.push(viewer.open(&mut list, spec, bodies).expect("open"));
        }
        for at in 0..12 {
            list.set_group(&id(at), groups[(at + 1) % 3])
                .expect("known");
            list.set_attrs(&id(at + 5), at as u32).expect("known");
            list.set_payload(&id(19 - at), Bytes::from("{}"))
                .expect("payloads");
            let tick = list.tick(std::time::Duration::from_secs(at as u64), bodies);
            bundles.extend(viewer.bundle(&tick));
        }
        bundles
    }

    #[test]
    fn what_was_written_is_read() {
        let bundles = bundles();
        assert!(bundles.len() > 10);
        for bundle in bundles {
            let bytes = bundle.to_binary_in(BundleFormat::Two);
            assert_eq!(
                Bundle::from_binary(&bytes).expect("what was written"),
                bundle
            );
            for cut in 0..bytes.len() {
                assert!(Bundle::<TextId>::from_binary(&bytes[..cut]).is_err());
            }
            assert!(
                Bundle::<u64>::from_binary(&bytes).is_err(),
                "ids of another type"
            );
        }
    }

    #[test]
    fn integers_are_read_as_they_are_or_refused() {
        let edges = [i64::MIN, i64::MIN + 1, -252, -251, -2, -1, 0, 250];
        let above = [251, 252, 255, 256, 1 << 16, 1 << 32, 1 << 63, u64::MAX];
        let id = |at: usize| match at {
            0..8 => IntId::from(edges[at]),
            8..16 => IntId::from(above[at - 8]),
            _ => IntId::from(at as u64),
        };
        let bundles = bundles_of(id);
        for bundle in &bundles {
            let bytes = bundle.to_binary_in(BundleFormat::Two);
            assert_eq!(Bundle::from_binary(&bytes).as_ref(), Ok(bundle));
        }
        // It has all rows.
        let bytes = bundles[0].to_binary();
        assert!(Bundle::<u64>::from_binary(&bytes).is_err(), "below 0");
        let natural = bundles_of(|at| above[at % 8].wrapping_sub(1_000 * at as u64));
        for (bundle, signed) in natural.iter().zip(bundles_of(|at| {
            IntId::from(above[at % 8].wrapping_sub(1_000 * at as u64))
        })) {
            assert_eq!(bundle.to_binary(), signed.to_binary(), "both are integers");
        }
    }

    #[test]
    fn frames_are_encoded_once() {
        let bundles = bundles();
        let frame = &bundles[3].frames[0];
        let bundle = &bundles[3];
        assert_eq!(frame.binary().as_ptr(), frame.binary().as_ptr());
        assert_eq!(frame.json().as_ptr(), frame.json().as_ptr());
        let _ = bundle.to_binary();
        assert!(frame.binary_cell().get().is_some());
    }

    proptest! {
        /// The envelope's checksum is out of the way here: damage reaches every reader.
        #[test]
        fn damage_is_an_error_or_another_bundle(
            which in 0usize..12,
            is_two: bool,
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let format = [BundleFormat::One, BundleFormat::Two][usize::from(is_two)];
            let bytes = bundles()[which].to_binary_in(format);
            let opened = Envelope::default().open(&bytes).expect("what was written");
            let mut body = opened.body.to_vec();
            for (at, byte) in damage {
                let at = at.index(body.len());
                body[at] = byte;
            }
            if cut.index(3) == 0 {
                body.truncate(cut.index(body.len()));
            }
            if let Ok(bundle) = read_bundle::<TextId>(&body, format) {
                let mut client = Client::new(|body, _| body.to_vec());
                for frame in &bundle.frames {
                    let _ = client.open(&frame.window);
                }
                let request = client.request();
                let _ = client.answer(request, &bundle);
                let again = Bundle::<TextId>::from_binary(&bundle.to_binary_in(format));
                prop_assert_eq!(again, Ok(bundle));
            }
        }
    }
}
