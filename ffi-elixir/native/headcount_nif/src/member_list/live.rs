//! Ticks and viewers.

use headcount::member_list::{Bundle, Discord, Id, TextId, Tick, WindowError};
use headcount::{Bodies, Viewer, WindowSpec};
use rustler::{Atom, Decoder, Encoder, Env, Error, NifResult, Resource, ResourceArc, Term};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use super::convert::TermId;
use super::{List, Lists, bundle, each};
use crate::entries::binary;
use crate::shared::{Patience, Shared, answer};
use crate::{atoms, errors};

pub(crate) enum Ticks {
    Number(Tick<u64>),
    Uuid(Tick<u128>),
    Text(Tick<TextId>),
}

/// The frames of one tick. They never change, so viewers on all schedulers read them at once.
pub(crate) struct Published(Ticks);

impl UnwindSafe for Published {}
impl RefUnwindSafe for Published {}

#[rustler::resource_impl]
impl Resource for Published {}

enum Viewers {
    Number(Viewer<u64>),
    Uuid(Viewer<u128>),
    Text(Viewer<TextId>),
}

/// The format of bundles.
pub(crate) enum Format {
    Map,
    Json,
    Binary,
    Discord(Discord),
}

/// `:map`, `:json`, `:binary` or `{:discord, guild, list}`.
impl<'a> Decoder<'a> for Format {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        if let Ok((_discord, guild, list)) = term.decode::<(Atom, &str, &str)>() {
            return Ok(Self::Discord(Discord::new(guild, list)));
        }
        match term.decode::<Atom>()? {
            format if format == atoms::map() => Ok(Self::Map),
            format if format == atoms::json() => Ok(Self::Json),
            format if format == atoms::binary() => Ok(Self::Binary),
            _ => Err(Error::BadArg),
        }
    }
}

fn viewer<I: Id>(format: &Format) -> Viewer<I> {
    match format {
        Format::Discord(_) => Viewer::discord(),
        _ => Viewer::new(),
    }
}

pub(crate) struct ViewerResource {
    list: ResourceArc<List>,
    viewer: Shared<Viewers>,
    format: Format,
}

#[rustler::resource_impl]
impl Resource for ViewerResource {}

macro_rules! each_viewer {
    ($any:expr, $viewer:ident => $body:expr) => {
        match $any {
            Viewers::Number($viewer) => $body,
            Viewers::Uuid($viewer) => $body,
            Viewers::Text($viewer) => $body,
        }
    };
}

/// Runs the same code for a viewer and its list, locked in this order.
macro_rules! on_viewer {
    ($resource:ident, |$viewer:ident, $list:ident, $bodies:ident| $body:expr) => {{
        let with = |viewers: &mut Viewers| {
            $resource
                .list
                .shared
                .write(Patience::Endless, |lists| match (viewers, lists) {
                    (Viewers::Number($viewer), Lists::Number($list)) => {
                        let $bodies = bodies(&$resource.list);
                        $body
                    }
                    (Viewers::Uuid($viewer), Lists::Uuid($list)) => {
                        let $bodies = bodies(&$resource.list);
                        $body
                    }
                    (Viewers::Text($viewer), Lists::Text($list)) => {
                        let $bodies = bodies(&$resource.list);
                        $body
                    }
                    _ => unreachable!("a viewer is made for the ids of its list"),
                })
        };
        $resource.viewer.write(Patience::Endless, with).flatten()
    }};
}

/// Returns the payload of a row as its body, if it has one.
fn bodies<I>(list: &List) -> Bodies<'static, I> {
    list.payloads.map_or(Bodies::None, Bodies::Payloads)
}

/// Publishes what changed; `now` in milliseconds.
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_tick(list: ResourceArc<List>, now: u64) -> Option<ResourceArc<Published>> {
    let now = Duration::from_millis(now);
    let tick = list.shared.write(Patience::Endless, |lists| match lists {
        Lists::Number(members) => Ticks::Number(members.tick(now, bodies(&list))),
        Lists::Uuid(members) => Ticks::Uuid(members.tick(now, bodies(&list))),
        Lists::Text(members) => Ticks::Text(members.tick(now, bodies(&list))),
    })?;
    Some(ResourceArc::new(Published(tick)))
}

/// Returns `{version, is_empty}`
#[rustler::nif]
fn tick_info(tick: ResourceArc<Published>) -> (u64, bool) {
    match &tick.0 {
        Ticks::Number(tick) => (tick.version(), tick.is_empty()),
        Ticks::Uuid(tick) => (tick.version(), tick.is_empty()),
        Ticks::Text(tick) => (tick.version(), tick.is_empty()),
    }
}

#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_begin_epoch(list: ResourceArc<List>, name: &str, epoch: u64) -> Option<()> {
    list.shared.write(
        Patience::Endless,
        |lists| each!(Lists, lists, list => list.begin_epoch(name, epoch)),
    )
}

#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_new(list: ResourceArc<List>, format: Format) -> Option<ResourceArc<ViewerResource>> {
    let viewer = list.shared.read(Patience::Endless, |lists| match lists {
        Lists::Number(_) => Viewers::Number(viewer(&format)),
        Lists::Uuid(_) => Viewers::Uuid(viewer(&format)),
        Lists::Text(_) => Viewers::Text(viewer(&format)),
    })?;
    Some(ResourceArc::new(ViewerResource {
        list,
        viewer: Shared::new(viewer),
        format,
    }))
}

/// Returns `{:ok, bundle}` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_open<'a>(env: Env<'a>, resource: ResourceArc<ViewerResource>, window: &str) -> Term<'a> {
    answer(
        env,
        on_viewer!(resource, |viewer, list, bodies| {
            let opened = WindowSpec::parse(window).and_then(|spec| viewer.open(list, spec, bodies));
            opened_term(env, &resource.format, opened)
        }),
    )
}

#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_retarget<'a>(
    env: Env<'a>,
    resource: ResourceArc<ViewerResource>,
    from: &str,
    to: &str,
) -> Term<'a> {
    answer(
        env,
        on_viewer!(resource, |viewer, list, bodies| {
            let specs = WindowSpec::parse(from).and_then(|from| Ok((from, WindowSpec::parse(to)?)));
            let moved = specs.and_then(|(from, to)| viewer.retarget(list, &from, to, bodies));
            opened_term(env, &resource.format, moved)
        }),
    )
}

#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_resync<'a>(
    env: Env<'a>,
    resource: ResourceArc<ViewerResource>,
    windows: Vec<&str>,
) -> Term<'a> {
    answer(
        env,
        on_viewer!(resource, |viewer, list, bodies| {
            let specs = windows.iter().map(|window| WindowSpec::parse(window));
            let specs = specs.collect::<Result<Vec<_>, _>>();
            let bundle = specs.and_then(|specs| viewer.resync(list, &specs, bodies));
            opened_term(env, &resource.format, bundle)
        }),
    )
}

/// Returns `:ok` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_close<'a>(env: Env<'a>, resource: ResourceArc<ViewerResource>, window: &str) -> Term<'a> {
    let close = |viewers: &mut Viewers| {
        each_viewer!(viewers, viewer => {
            WindowSpec::parse(window).and_then(|spec| viewer.close(&spec))
        })
    };
    match resource.viewer.write(Patience::Endless, close) {
        Some(Err(error)) => errors::described(env, &error),
        _ => atoms::ok().encode(env),
    }
}

/// Returns one SYNC for each window that missed frames.
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_catch_up<'a>(env: Env<'a>, resource: ResourceArc<ViewerResource>) -> Term<'a> {
    answer(
        env,
        on_viewer!(resource, |viewer, list, bodies| {
            let bundle = viewer.catch_up(list, bodies);
            bundle_term(env, &resource.format, &bundle)
        }),
    )
}

/// Discord's event for a chunk that was closed; `nil` for viewers of another format.
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_invalidate<'a>(
    env: Env<'a>,
    resource: ResourceArc<ViewerResource>,
    chunk: u32,
) -> Term<'a> {
    let Format::Discord(discord) = &resource.format else {
        return atoms::nil().encode(env);
    };
    answer(env, resource.viewer.read(Patience::Endless, |viewers| {
        each_viewer!(viewers, viewer => binary(env, &discord.invalidate(viewer, chunk)))
    }))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_set_hidden(resource: ResourceArc<ViewerResource>, hidden: bool) -> Option<()> {
    resource.viewer.write(
        Patience::Endless,
        |viewers| each_viewer!(viewers, viewer => viewer.set_hidden(hidden)),
    )
}

/// Returns `{is_stale, [window]}`
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_info(resource: ResourceArc<ViewerResource>) -> Option<(bool, Vec<String>)> {
    resource.viewer.read(Patience::Endless, |viewers| {
        each_viewer!(viewers, viewer => {
            (viewer.is_stale(), viewer.windows().map(ToString::to_string).collect())
        })
    })
}

crate::shared::twins! {
    /// Returns the bundle of a tick, `nil` when it has nothing for the viewer, `:other_list` when it is one of another
    /// list.
    fn viewer_bundle / "viewer_bundle_dirty" [env, patience] (
        resource: ResourceArc<ViewerResource>, tick: ResourceArc<Published>,
    ) {
        answer(env, resource.viewer.write(patience, |viewers| match (viewers, &tick.0) {
            (Viewers::Number(viewer), Ticks::Number(tick)) => taken(env, &resource.format, viewer.bundle(tick)),
            (Viewers::Uuid(viewer), Ticks::Uuid(tick)) => taken(env, &resource.format, viewer.bundle(tick)),
            (Viewers::Text(viewer), Ticks::Text(tick)) => taken(env, &resource.format, viewer.bundle(tick)),
            _ => atoms::other_list().encode(env),
        }))
    }
}

fn taken<'a, I: TermId>(env: Env<'a>, format: &Format, bundle: Option<Bundle<I>>) -> Term<'a> {
    bundle
        .map(|bundle| bundle_term(env, format, &bundle))
        .encode(env)
}

fn opened_term<'a, I: TermId>(
    env: Env<'a>,
    format: &Format,
    bundle: Result<Bundle<I>, WindowError>,
) -> Term<'a> {
    match bundle {
        Ok(bundle) => (atoms::ok(), bundle_term(env, format, &bundle)).encode(env),
        Err(error) => errors::described(env, &error),
    }
}

fn bundle_term<'a, I: TermId>(env: Env<'a>, format: &Format, bundle: &Bundle<I>) -> Term<'a> {
    match format {
        Format::Map => bundle::term(env, bundle),
        Format::Json => binary(env, &bundle.to_json()),
        Format::Binary => binary(env, &bundle.to_binary()),
        Format::Discord(discord) => binary(env, &discord.event(bundle)),
    }
}
