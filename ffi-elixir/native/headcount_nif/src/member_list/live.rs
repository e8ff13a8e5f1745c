//! Ticks and viewers.

use headcount::member_list::{
    BodyFormat, Bundle, BundleFormat, Discord, Epoch, HeldWindow, Id, IntId, ListId, LiveList,
    MemberTable, TableError, TableTick, TextId, Tick, Watchable, WindowError,
};
use headcount::{Bodies, MemberList, Viewer, WindowSpec};
use rustler::{Atom, Decoder, Encoder, Env, Error, NifResult, Resource, ResourceArc, Term};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use super::convert::TermId;
use super::{List, Lists, Table, Tables, bundle, each};
use crate::entries::binary;
use crate::shared::{Patience, Shared, answer};
use crate::{atoms, errors};

/// A tick of a list, or of all lists of a table.
pub(crate) enum Ticks {
    Number(Tick<IntId>),
    Uuid(Tick<u128>),
    Text(Tick<TextId>),
    NumberTable(TableTick<IntId>),
    UuidTable(TableTick<u128>),
    TextTable(TableTick<TextId>),
}

/// The frames of one tick. They never change, so viewers on all schedulers read them at once.
pub(crate) struct Published(pub(crate) Ticks);

impl UnwindSafe for Published {}
impl RefUnwindSafe for Published {}

#[rustler::resource_impl]
impl Resource for Published {}

enum Viewers {
    Number(Viewer<IntId>),
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

/// The encoding of bundles.
struct Encoding {
    format: Format,
    frames: BundleFormat,
}

impl Encoding {
    fn new(format: Format, resumable: bool) -> Self {
        let frames = match resumable {
            true => BundleFormat::Two,
            false => BundleFormat::One,
        };
        Self { format, frames }
    }
}

fn viewer<I: Id>(encoding: &Encoding) -> Viewer<I> {
    match (&encoding.format, encoding.frames) {
        (Format::Discord(_), _) => Viewer::discord(),
        (_, BundleFormat::Two) => Viewer::resumable(),
        (_, BundleFormat::One) => Viewer::new(),
    }
}

/// A viewer, and the list that it watches.
struct Watching {
    watched: Watched,
    viewers: Viewers,
}

/// A list of its own, or one of a table.
enum Watched {
    List(ResourceArc<List>),
    Table(ResourceArc<Table>, ListId),
}

pub(crate) struct ViewerResource {
    watching: Shared<Watching>,
    encoding: Encoding,
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

/// A kind of ids, and the lists and tables of it.
pub(super) trait Kind: TermId {
    fn list(lists: &mut Lists) -> Option<&mut MemberList<Self>>;
    fn table(tables: &mut Tables) -> Option<&mut MemberTable<Self>>;
}

macro_rules! kind {
    ($id:ty, $kind:ident) => {
        impl Kind for $id {
            fn list(lists: &mut Lists) -> Option<&mut MemberList<Self>> {
                match lists {
                    Lists::$kind(list) => Some(list),
                    _ => None,
                }
            }

            fn table(tables: &mut Tables) -> Option<&mut MemberTable<Self>> {
                match tables {
                    Tables::$kind(table) => Some(table),
                    _ => None,
                }
            }
        }
    };
}

kind!(IntId, Number);
kind!(u128, Uuid);
kind!(TextId, Text);

/// The reason why a list cannot be watched.
enum Unwatched {
    Table(TableError),
    OtherIds,
}

impl Watched {
    /// Works on the list, with its bodies. The lock of the viewer is taken before that of the list.
    fn with<I: Kind, R>(
        &self,
        f: impl FnOnce(&mut LiveList<'_, I>, Bodies<'_, I>) -> R,
    ) -> Option<Result<R, Unwatched>> {
        match self {
            Self::List(list) => list.shared.write(Patience::Endless, |lists| {
                let members = I::list(lists).ok_or(Unwatched::OtherIds)?;
                Ok(f(&mut live(members), bodies(list.payloads)))
            }),
            Self::Table(table, id) => table.shared.write(Patience::Endless, |tables| {
                let members = I::table(tables).ok_or(Unwatched::OtherIds)?;
                let mut list = members.live(*id).map_err(Unwatched::Table)?;
                Ok(f(&mut list, bodies(table.payloads)))
            }),
        }
    }
}

fn live<I: Id>(list: &mut impl Watchable<I>) -> LiveList<'_, I> {
    list.live()
}

/// A request of a viewer, with the names of windows.
enum Request<'a> {
    Open(&'a str),
    Retarget(&'a str, &'a str),
    Resync(Vec<&'a str>),
    Resume(Vec<HeldWindow>),
    CatchUp,
    Switch(Vec<&'a str>),
}

impl Request<'_> {
    fn carry_out<I: Id>(
        &self,
        viewer: &mut Viewer<I>,
        list: &mut LiveList<'_, I>,
        bodies: Bodies<'_, I>,
    ) -> Result<Bundle<I>, WindowError> {
        let specs = |windows: &[&str]| {
            let specs = windows.iter().map(|window| WindowSpec::parse(window));
            specs.collect::<Result<Vec<_>, _>>()
        };
        match self {
            Self::Open(window) => viewer.open(list, WindowSpec::parse(window)?, bodies),
            Self::Retarget(from, to) => {
                let from = WindowSpec::parse(from)?;
                viewer.retarget(list, &from, WindowSpec::parse(to)?, bodies)
            }
            Self::Resync(windows) => viewer.resync(list, &specs(windows)?, bodies),
            Self::Resume(held) => viewer.resume(list, held, bodies),
            Self::CatchUp => Ok(viewer.catch_up(list, bodies)),
            Self::Switch(windows) => viewer.switch(list, &specs(windows)?, bodies),
        }
    }
}

/// Returns `{:ok, bundle}` or `{:error, {what, message}}`.
fn answered<'a>(env: Env<'a>, resource: &ViewerResource, request: &Request<'_>) -> Term<'a> {
    let encoding = &resource.encoding;
    let answered = resource.watching.write(Patience::Endless, |watching| {
        let Watching { watched, viewers } = watching;
        each_viewer!(viewers, viewer => answer_of(env, encoding, viewer, watched, request))
    });
    answer(env, answered)
}

fn answer_of<'a, I: Kind>(
    env: Env<'a>,
    encoding: &Encoding,
    viewer: &mut Viewer<I>,
    watched: &Watched,
    request: &Request<'_>,
) -> Term<'a> {
    let made = watched.with(|list, bodies| request.carry_out(viewer, list, bodies));
    match made {
        None => atoms::busy().encode(env),
        Some(Ok(Ok(bundle))) => (atoms::ok(), bundle_term(env, encoding, &bundle)).encode(env),
        Some(Ok(Err(error))) => errors::described(env, &error),
        Some(Err(Unwatched::Table(error))) => errors::table(env, &error),
        Some(Err(Unwatched::OtherIds)) => {
            let message = "the ids of the list are of another kind";
            (atoms::error(), (atoms::other_ids(), message)).encode(env)
        }
    }
}

/// Returns the payload of a row as its body, if it has one.
fn bodies<'a, I>(payloads: Option<BodyFormat>) -> Bodies<'a, I> {
    payloads.map_or(Bodies::None, Bodies::Payloads)
}

/// Publishes what changed; `now` in milliseconds.
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_tick(list: ResourceArc<List>, now: u64) -> Option<ResourceArc<Published>> {
    let now = Duration::from_millis(now);
    let tick = list.shared.write(Patience::Endless, |lists| match lists {
        Lists::Number(members) => Ticks::Number(members.tick(now, bodies(list.payloads))),
        Lists::Uuid(members) => Ticks::Uuid(members.tick(now, bodies(list.payloads))),
        Lists::Text(members) => Ticks::Text(members.tick(now, bodies(list.payloads))),
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
        Ticks::NumberTable(tick) => (0, tick.is_empty()),
        Ticks::UuidTable(tick) => (0, tick.is_empty()),
        Ticks::TextTable(tick) => (0, tick.is_empty()),
    }
}

/// Returns `:ok` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn member_list_begin_epoch<'a>(
    env: Env<'a>,
    list: ResourceArc<List>,
    name: &str,
    (node, number): (&str, u64),
) -> Term<'a> {
    let epoch = Epoch::new(node, number);
    let begun = list.shared.write(
        Patience::Endless,
        |lists| each!(Lists, lists, list => list.begin_epoch(name, epoch)),
    );
    super::groups::done(env, begun)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_new(
    list: ResourceArc<List>,
    format: Format,
    resumable: bool,
) -> Option<ResourceArc<ViewerResource>> {
    let encoding = Encoding::new(format, resumable);
    let viewers = list.shared.read(Patience::Endless, |lists| match lists {
        Lists::Number(_) => Viewers::Number(viewer(&encoding)),
        Lists::Uuid(_) => Viewers::Uuid(viewer(&encoding)),
        Lists::Text(_) => Viewers::Text(viewer(&encoding)),
    })?;
    let watched = Watched::List(list);
    let watching = Shared::new(Watching { watched, viewers });
    Some(ResourceArc::new(ViewerResource { watching, encoding }))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn view_viewer_new(
    table: ResourceArc<Table>,
    list: u64,
    format: Format,
    resumable: bool,
) -> Option<ResourceArc<ViewerResource>> {
    let encoding = Encoding::new(format, resumable);
    let viewers = table
        .shared
        .read(Patience::Endless, |tables| match tables {
            Tables::Number(_) => Viewers::Number(viewer(&encoding)),
            Tables::Uuid(_) => Viewers::Uuid(viewer(&encoding)),
            Tables::Text(_) => Viewers::Text(viewer(&encoding)),
        })?;
    let watched = Watched::Table(table, ListId::from_u64(list));
    let watching = Shared::new(Watching { watched, viewers });
    Some(ResourceArc::new(ViewerResource { watching, encoding }))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_open<'a>(env: Env<'a>, resource: ResourceArc<ViewerResource>, window: &str) -> Term<'a> {
    answered(env, &resource, &Request::Open(window))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_retarget<'a>(
    env: Env<'a>,
    resource: ResourceArc<ViewerResource>,
    from: &str,
    to: &str,
) -> Term<'a> {
    answered(env, &resource, &Request::Retarget(from, to))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_resync<'a>(
    env: Env<'a>,
    resource: ResourceArc<ViewerResource>,
    windows: Vec<&str>,
) -> Term<'a> {
    answered(env, &resource, &Request::Resync(windows))
}

/// Opens windows that a client still shows: `[{window, node, number, version}]`.
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_resume<'a>(
    env: Env<'a>,
    resource: ResourceArc<ViewerResource>,
    held: Vec<(&str, &str, u64, u64)>,
) -> Term<'a> {
    let held = held
        .into_iter()
        .map(|(window, node, number, version)| HeldWindow {
            window: window.into(),
            epoch: Epoch::new(node, number),
            version,
        });
    answered(env, &resource, &Request::Resume(held.collect()))
}

/// Goes to a list of a table, and opens windows there.
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_switch<'a>(
    env: Env<'a>,
    resource: ResourceArc<ViewerResource>,
    table: ResourceArc<Table>,
    list: u64,
    windows: Vec<&str>,
) -> Term<'a> {
    let encoding = &resource.encoding;
    let next = Watched::Table(table, ListId::from_u64(list));
    let request = Request::Switch(windows);
    let answered = resource.watching.write(Patience::Endless, |watching| {
        let Watching { watched, viewers } = watching;
        let term =
            each_viewer!(viewers, viewer => answer_of(env, encoding, viewer, &next, &request));
        if term
            .decode::<(Atom, Term<'_>)>()
            .is_ok_and(|(is_ok, _)| is_ok == atoms::ok())
        {
            *watched = next;
        }
        term
    });
    answer(env, answered)
}

/// Returns `:ok` or `{:error, {what, message}}`.
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_close<'a>(env: Env<'a>, resource: ResourceArc<ViewerResource>, window: &str) -> Term<'a> {
    let close = |watching: &mut Watching| {
        each_viewer!(&mut watching.viewers, viewer => {
            WindowSpec::parse(window).and_then(|spec| viewer.close(&spec))
        })
    };
    match resource.watching.write(Patience::Endless, close) {
        Some(Err(error)) => errors::described(env, &error),
        _ => atoms::ok().encode(env),
    }
}

/// Returns one SYNC for each window that missed frames.
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_catch_up(env: Env<'_>, resource: ResourceArc<ViewerResource>) -> Term<'_> {
    answered(env, &resource, &Request::CatchUp)
}

/// Discord's event for a chunk that was closed; `nil` for viewers of another format.
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_invalidate<'a>(
    env: Env<'a>,
    resource: ResourceArc<ViewerResource>,
    chunk: u32,
) -> Term<'a> {
    let Format::Discord(discord) = &resource.encoding.format else {
        return atoms::nil().encode(env);
    };
    answer(env, resource.watching.read(Patience::Endless, |watching| {
        each_viewer!(&watching.viewers, viewer => binary(env, &discord.invalidate(viewer, chunk)))
    }))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_set_hidden(resource: ResourceArc<ViewerResource>, hidden: bool) -> Option<()> {
    resource.watching.write(
        Patience::Endless,
        |watching| each_viewer!(&mut watching.viewers, viewer => viewer.set_hidden(hidden)),
    )
}

/// Returns `{is_stale, [window]}`
#[rustler::nif(schedule = "DirtyCpu")]
fn viewer_info(resource: ResourceArc<ViewerResource>) -> Option<(bool, Vec<String>)> {
    resource.watching.read(Patience::Endless, |watching| {
        each_viewer!(&watching.viewers, viewer => {
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
        answer(env, resource.watching.write(patience, |watching| match (&mut watching.viewers, &tick.0) {
            (Viewers::Number(viewer), Ticks::Number(tick)) => taken(env, &resource.encoding, viewer.bundle(tick)),
            (Viewers::Uuid(viewer), Ticks::Uuid(tick)) => taken(env, &resource.encoding, viewer.bundle(tick)),
            (Viewers::Text(viewer), Ticks::Text(tick)) => taken(env, &resource.encoding, viewer.bundle(tick)),
            (Viewers::Number(viewer), Ticks::NumberTable(tick)) => taken(env, &resource.encoding, tick.bundle(viewer)),
            (Viewers::Uuid(viewer), Ticks::UuidTable(tick)) => taken(env, &resource.encoding, tick.bundle(viewer)),
            (Viewers::Text(viewer), Ticks::TextTable(tick)) => taken(env, &resource.encoding, tick.bundle(viewer)),
            _ => atoms::other_list().encode(env),
        }))
    }
}

fn taken<'a, I: TermId>(env: Env<'a>, encoding: &Encoding, bundle: Option<Bundle<I>>) -> Term<'a> {
    bundle
        .map(|bundle| bundle_term(env, encoding, &bundle))
        .encode(env)
}

fn bundle_term<'a, I: TermId>(env: Env<'a>, encoding: &Encoding, bundle: &Bundle<I>) -> Term<'a> {
    match &encoding.format {
        Format::Map => bundle::term(env, bundle, encoding.frames),
        Format::Json => binary(env, &bundle.to_json_in(encoding.frames)),
        Format::Binary => binary(env, &bundle.to_binary_in(encoding.frames)),
        Format::Discord(discord) => binary(env, &discord.event(bundle)),
    }
}
