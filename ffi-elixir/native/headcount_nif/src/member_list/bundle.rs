//! Bundles as maps: the fields of `core/docs/list-frames.md`, ids as the list has them.

use headcount::member_list::{
    Body, BodyChange, Bundle, BundleFormat, Counts, CountsTable, Frame, FrameChange, FrameRow,
    Insert, InsertSource, MemberChange, RowChange, RowUpdate,
};
use rustler::{Atom, Encoder, Env, Term};

use super::convert::TermId;
use crate::atoms;
use crate::entries::binary;

/// Returns `%{list, epoch, version, frames, bases, windows}` and `counts`, if they changed; in frame format 2 `format`
/// as well.
pub(crate) fn term<'a, I: TermId>(
    env: Env<'a>,
    bundle: &Bundle<I>,
    format: BundleFormat,
) -> Term<'a> {
    let frames: Vec<_> = bundle
        .frames
        .iter()
        .map(|frame| frame_term(env, frame))
        .collect();
    let bases = bundle.bases.iter().map(|base| {
        let window = (atoms::window(), base.window.encode(env));
        map(
            env,
            vec![window, (atoms::base_index(), base.base_index.encode(env))],
        )
    });
    let mut pairs = vec![
        (atoms::list(), bundle.list.encode(env)),
        (atoms::version(), bundle.version.encode(env)),
        (atoms::frames(), frames.encode(env)),
        (atoms::bases(), bases.collect::<Vec<_>>().encode(env)),
    ];
    match format {
        BundleFormat::One => {
            let windows: Vec<&str> = bundle.windows.iter().map(|held| &*held.window).collect();
            pairs.push((atoms::epoch(), bundle.epoch.number.encode(env)));
            pairs.push((atoms::windows(), windows.encode(env)));
        }
        BundleFormat::Two => {
            let node = (atoms::node(), bundle.epoch.node.encode(env));
            let number = (atoms::number(), bundle.epoch.number.encode(env));
            let windows = bundle.windows.iter().map(|held| {
                let window = (atoms::window(), held.window.encode(env));
                map(
                    env,
                    vec![window, (atoms::version(), held.version.encode(env))],
                )
            });
            pairs.push((atoms::format(), 2_u8.encode(env)));
            pairs.push((atoms::epoch(), map(env, vec![node, number])));
            pairs.push((atoms::windows(), windows.collect::<Vec<_>>().encode(env)));
        }
    }
    pairs.extend(
        bundle
            .counts
            .iter()
            .map(|counts| (atoms::counts(), counts_term(env, counts))),
    );
    map(env, pairs)
}

fn frame_term<'a, I: TermId>(env: Env<'a>, frame: &Frame<I>) -> Term<'a> {
    let mut pairs = vec![
        (atoms::window(), frame.window.encode(env)),
        (atoms::base_version(), frame.base_version.encode(env)),
        (atoms::new_version(), frame.new_version.encode(env)),
        (atoms::base_index(), frame.base_index.encode(env)),
        (atoms::checksum32(), frame.checksum32.encode(env)),
    ];
    pairs.extend(
        frame
            .renamed
            .iter()
            .map(|name| (atoms::renamed(), name.encode(env))),
    );
    let matches = frame.matches;
    pairs.extend(matches.map(|matches| (atoms::matches(), matches.encode(env))));
    match &frame.change {
        FrameChange::Sync(rows) => {
            let rows: Vec<_> = rows.iter().map(|row| row_term(env, row)).collect();
            pairs.push((atoms::kind(), atoms::sync().encode(env)));
            pairs.push((atoms::rows(), rows.encode(env)));
        }
        FrameChange::Delta {
            deletes,
            inserts,
            updates,
        } => {
            let inserts: Vec<_> = inserts
                .iter()
                .map(|insert| insert_term(env, insert))
                .collect();
            let updates: Vec<_> = updates
                .iter()
                .map(|update| update_term(env, update))
                .collect();
            pairs.push((atoms::kind(), atoms::delta().encode(env)));
            pairs.push((atoms::deletes(), deletes.encode(env)));
            pairs.push((atoms::inserts(), inserts.encode(env)));
            pairs.push((atoms::updates(), updates.encode(env)));
        }
    }
    map(env, pairs)
}

fn row_term<'a, I: TermId>(env: Env<'a>, row: &FrameRow<I>) -> Term<'a> {
    map(
        env,
        match row {
            FrameRow::Header { group, count } => {
                vec![
                    (atoms::group(), group.encode(env)),
                    (atoms::count(), count.encode(env)),
                ]
            }
            FrameRow::Member {
                id,
                revision,
                attrs,
                body,
            } => vec![
                (atoms::id(), id.to_term(env)),
                (atoms::revision(), revision.encode(env)),
                (atoms::attrs(), attrs.encode(env)),
                (
                    atoms::body(),
                    body.as_ref().map(|body| body_term(env, body)).encode(env),
                ),
            ],
        },
    )
}

fn insert_term<'a, I: TermId>(env: Env<'a>, insert: &Insert<I>) -> Term<'a> {
    let mut pairs = vec![(atoms::index(), insert.index.encode(env))];
    match &insert.source {
        InsertSource::Row(row) => pairs.push((atoms::row(), row_term(env, row))),
        InsertSource::Move { id, change } => {
            pairs.push((atoms::r#move(), id.to_term(env)));
            change
                .iter()
                .for_each(|change| member_change(env, change, &mut pairs));
        }
    }
    map(env, pairs)
}

fn update_term<'a>(env: Env<'a>, update: &RowUpdate) -> Term<'a> {
    let mut pairs = vec![(atoms::index(), update.index.encode(env))];
    match &update.change {
        RowChange::Count(count) => pairs.push((atoms::count(), count.encode(env))),
        RowChange::Member(change) => member_change(env, change, &mut pairs),
    }
    map(env, pairs)
}

fn member_change<'a>(env: Env<'a>, change: &MemberChange, pairs: &mut Vec<(Atom, Term<'a>)>) {
    pairs.push((atoms::revision(), change.revision.encode(env)));
    pairs.extend(
        change
            .attrs
            .iter()
            .map(|attrs| (atoms::attrs(), attrs.encode(env))),
    );
    match &change.body {
        BodyChange::Same => {}
        BodyChange::Patch(patch) => pairs.push((atoms::patch(), binary(env, patch))),
        BodyChange::Whole(body) => pairs.push((atoms::body(), body_term(env, body))),
    }
}

fn body_term<'a>(env: Env<'a>, body: &Body) -> Term<'a> {
    let (Body::Json(bytes) | Body::Raw(bytes)) = body;
    binary(env, bytes)
}

fn counts_term<'a>(env: Env<'a>, counts: &Counts) -> Term<'a> {
    let mut pairs = vec![
        (atoms::version(), counts.version.encode(env)),
        (atoms::rows(), counts.rows.encode(env)),
        (atoms::members(), counts.members.encode(env)),
        (atoms::headers(), counts.headers.encode(env)),
    ];
    match &counts.table {
        CountsTable::Full(groups) => {
            let groups = groups.iter().map(|group| {
                map(
                    env,
                    vec![
                        (atoms::group(), group.group.encode(env)),
                        (atoms::count(), group.count.encode(env)),
                        (atoms::hidden(), group.hidden.encode(env)),
                        (atoms::collapsed(), group.collapsed.encode(env)),
                    ],
                )
            });
            pairs.push((atoms::groups(), groups.collect::<Vec<_>>().encode(env)));
        }
        CountsTable::Delta {
            base_version,
            changed,
        } => {
            let changed = changed.iter().map(|(group, count)| {
                map(
                    env,
                    vec![
                        (atoms::group(), group.encode(env)),
                        (atoms::count(), count.encode(env)),
                    ],
                )
            });
            pairs.push((atoms::base_version(), base_version.encode(env)));
            pairs.push((atoms::changed(), changed.collect::<Vec<_>>().encode(env)));
        }
    }
    map(env, pairs)
}

fn map<'a>(env: Env<'a>, pairs: Vec<(Atom, Term<'a>)>) -> Term<'a> {
    let (keys, values): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .map(|(key, value)| (key.to_term(env), value))
        .unzip();
    Term::map_from_term_arrays(env, &keys, &values).expect("the keys differ")
}
