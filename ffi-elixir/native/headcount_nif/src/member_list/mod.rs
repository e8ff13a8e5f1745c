//! `Headcount.MemberList`.

mod bundle;
mod collation;
mod convert;
mod groups;
mod live;
mod read;
mod refused;
mod roster;
mod save;
mod table;
mod write;

use headcount::member_list::{BodyFormat, IntId, TextId};
use headcount::{ListOptions, MemberList, Snapshot};
use rustler::{Atom, Resource, ResourceArc};

use self::roster::ListOrRoster;
pub(crate) use self::table::{Table, Tables};
use crate::atoms;
use crate::shared::Shared;

/// A list of members whose ids are numbers, UUIDs or text.
pub(crate) enum Lists {
    Number(ListOrRoster<IntId>),
    Uuid(ListOrRoster<u128>),
    Text(ListOrRoster<TextId>),
}

pub(crate) struct List {
    shared: Shared<Lists>,
    /// The kind of the payloads, if there are any.
    payloads: Option<BodyFormat>,
}

#[rustler::resource_impl]
impl Resource for List {}

pub(crate) enum Snapshots {
    Number(Snapshot<IntId>),
    Uuid(Snapshot<u128>),
    Text(Snapshot<TextId>),
}

/// A list as it was. The lock is there only to drop the last nodes on another thread.
pub(crate) struct SnapshotResource {
    shared: Shared<Snapshots>,
}

#[rustler::resource_impl]
impl Resource for SnapshotResource {}

/// Runs the same code for a list of any kind of ids.
macro_rules! each {
    ($kinds:ident, $any:expr, $list:ident => $body:expr) => {
        match $any {
            $crate::member_list::$kinds::Number($list) => $body,
            $crate::member_list::$kinds::Uuid($list) => $body,
            $crate::member_list::$kinds::Text($list) => $body,
        }
    };
}
pub(crate) use each;

/// `ids` is `:integer`, `:uuid` or `:text`, `payloads` is `nil`, `:json` or `:raw`.
#[rustler::nif]
fn member_list_new(ids: Atom, headers: bool, payloads: Atom) -> Option<ResourceArc<List>> {
    let payloads = body_format(payloads);
    let options = ListOptions::default()
        .headers(headers)
        .payloads(payloads.is_some());
    let lists = match ids {
        ids if ids == atoms::integer() => {
            Lists::Number(ListOrRoster::Target(MemberList::new(options)))
        }
        ids if ids == atoms::uuid() => Lists::Uuid(ListOrRoster::Target(MemberList::new(options))),
        ids if ids == atoms::text() => Lists::Text(ListOrRoster::Target(MemberList::new(options))),
        _ => return None,
    };
    Some(ResourceArc::new(List {
        shared: Shared::new(lists),
        payloads,
    }))
}

/// Returns what `:json` and `:raw` mean.
fn body_format(payloads: Atom) -> Option<BodyFormat> {
    match payloads {
        payloads if payloads == atoms::json() => Some(BodyFormat::Json),
        payloads if payloads == atoms::raw() => Some(BodyFormat::Raw),
        _ => None,
    }
}
