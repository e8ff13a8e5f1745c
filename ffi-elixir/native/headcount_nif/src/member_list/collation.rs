//! `Headcount.Collation`.

use headcount::SortKey;
use headcount::member_list::Collation;
use rustler::{Encoder, Env, Resource, ResourceArc, Term};

use crate::entries::binary;
use crate::{atoms, errors};

struct Order(Collation);

#[rustler::resource_impl]
impl Resource for Order {}

/// Returns `{:ok, collation}` or `{:error, {what, message}}`.
#[rustler::nif]
fn collation_new<'a>(env: Env<'a>, locale: &str) -> Term<'a> {
    match Collation::new(locale) {
        Ok(order) => (atoms::ok(), ResourceArc::new(Order(order))).encode(env),
        Err(error) => errors::described(env, &error),
    }
}

impl Order {
    fn key_of(&self, text: &str, is_prefix: bool) -> SortKey {
        match is_prefix {
            true => self.0.prefix(text),
            false => self.0.key(text),
        }
    }
}

/// Returns the key of a short text.
#[rustler::nif]
fn collation_key<'a>(
    env: Env<'a>,
    order: ResourceArc<Order>,
    text: &str,
    is_prefix: bool,
) -> Term<'a> {
    binary(env, order.key_of(text, is_prefix).as_bytes())
}

/// Returns the key of any text.
#[rustler::nif(schedule = "DirtyCpu")]
fn collation_key_of_long<'a>(
    env: Env<'a>,
    order: ResourceArc<Order>,
    text: &str,
    is_prefix: bool,
) -> Term<'a> {
    binary(env, order.key_of(text, is_prefix).as_bytes())
}
