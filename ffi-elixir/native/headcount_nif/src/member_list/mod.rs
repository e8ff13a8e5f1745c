//! `Headcount.MemberList`.

mod convert;
mod groups;
mod read;
mod write;

use headcount::{MemberList, Options, Snapshot, TextId};
use rustler::{Resource, ResourceArc};

use crate::shared::Shared;

/// A list of members whose ids are numbers, UUIDs or text.
pub(crate) enum Lists {
    Number(MemberList<u64>),
    Uuid(MemberList<u128>),
    Text(MemberList<TextId>),
}

pub(crate) struct List(Shared<Lists>);

#[rustler::resource_impl]
impl Resource for List {}

pub(crate) enum Snapshots {
    Number(Snapshot<u64>),
    Uuid(Snapshot<u128>),
    Text(Snapshot<TextId>),
}

/// A list as it was. The lock only sees to it that the last nodes are dropped off the schedulers.
pub(crate) struct Frozen(Shared<Snapshots>);

#[rustler::resource_impl]
impl Resource for Frozen {}

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

#[rustler::nif]
fn member_list_new(ids: rustler::Atom, headers: bool, payloads: bool) -> Option<ResourceArc<List>> {
    let mut options = Options::default();
    options = if headers {
        options
    } else {
        options.without_headers()
    };
    options = if payloads {
        options.with_payloads()
    } else {
        options
    };
    let list = match ids {
        ids if ids == crate::atoms::integer() => Lists::Number(MemberList::new(options)),
        ids if ids == crate::atoms::uuid() => Lists::Uuid(MemberList::new(options)),
        ids if ids == crate::atoms::text() => Lists::Text(MemberList::new(options)),
        _ => return None,
    };
    Some(ResourceArc::new(List(Shared::new(list))))
}
