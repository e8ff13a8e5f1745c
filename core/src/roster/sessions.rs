//! The sessions of one user, and which of them decides.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Status;
use super::origins::Origins;
use super::placement::{Placement, RowKeys, Spot};
use crate::id::{Dot, Origin};
use crate::tracker::EntryBuf;

/// The name of a version of a session: the number of its origin, and the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) origin: u32,
    pub(super) version: u64,
}

/// The parts of a row, besides the bits, that a session has something to say of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts(u8);

impl Parts {
    const GROUP: u8 = 1;
    const KEY: u8 = 2;
    const PAYLOAD: u8 = 4;

    fn of(spot: &Spot) -> Self {
        let group = u8::from(spot.group.is_some()) * Self::GROUP;
        let key = u8::from(spot.keys != RowKeys::LeftOut) * Self::KEY;
        let payload = u8::from(spot.payload.is_some()) * Self::PAYLOAD;
        Self(group | key | payload)
    }

    pub(super) const fn group(self) -> bool {
        self.0 & Self::GROUP != 0
    }

    pub(super) const fn key(self) -> bool {
        self.0 & Self::KEY != 0
    }

    pub(super) const fn payload(self) -> bool {
        self.0 & Self::PAYLOAD != 0
    }
}

/// A session, without what it says of the row.
#[derive(Clone, Copy, Debug)]
struct Session {
    version: u64,
    birth: u64,
    origin: u32,
    status: Status,
    parts: Parts,
}

impl Session {
    const fn name(&self) -> Name {
        Name {
            origin: self.origin,
            version: self.version,
        }
    }

    const fn deciding(&self) -> Deciding {
        Deciding {
            name: self.name(),
            status: self.status,
        }
    }
}

/// The session that decides for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deciding {
    pub(super) name: Name,
    pub(super) status: Status,
}

/// The sessions of one user. Most users have one.
#[derive(Debug, Default)]
pub(super) enum Sessions {
    #[default]
    None,
    One(One),
    Many(Box<Many>),
}

/// The only session of a user. What it says of the row is in the row.
#[derive(Debug)]
pub(super) struct One(Session);

/// Several sessions, by name and in the order in which they decide.
#[derive(Debug, Default)]
pub(super) struct Many {
    by_name: BTreeMap<Name, Held>,
    order: BTreeSet<Place>,
}

/// One of several sessions.
#[derive(Debug)]
struct Held {
    session: Session,
    /// `None` for a session that decides, as the row has it, and for one that is not visible.
    spot: Option<Spot>,
}

/// The place of a session among those of its user. Fields are compared in their order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    rank: u8,
    dot: Reverse<Dot>,
    version: Reverse<u64>,
    origin: u32,
    status: Status,
}

impl Sessions {
    /// Returns the session that decides. O(log sessions).
    pub(super) fn deciding(&self) -> Option<Deciding> {
        match self {
            Self::None => None,
            Self::One(one) => Some(one.0.deciding()),
            Self::Many(many) => many.order.first().map(Place::deciding),
        }
    }

    /// Returns the status of the session that decides. O(log sessions).
    pub(super) fn status(&self) -> Status {
        let deciding = self.deciding();
        deciding.map_or(Status::Offline, |deciding| deciding.status)
    }

    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns the names of all sessions. O(sessions).
    pub(super) fn names(&self) -> impl Iterator<Item = Name> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(one.0.name()), None),
            Self::Many(many) => (None, Some(many.by_name.keys().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl Place {
    fn deciding(&self) -> Deciding {
        Deciding {
            name: Name {
                origin: self.origin,
                version: self.version.0,
            },
            status: self.status,
        }
    }
}

/// The sessions of one user while a Diff changes them. Each change is O(log sessions).
#[derive(Debug)]
pub(super) struct Turn<'a> {
    sessions: &'a mut Sessions,
    /// The spot of the only session, until the row has it.
    spot: Option<Spot>,
    origins: &'a mut Origins,
    /// The rank of each status; the smallest decides.
    rank: &'a [u8; Status::ALL.len()],
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        sessions: &'a mut Sessions,
        origins: &'a mut Origins,
        rank: &'a [u8; Status::ALL.len()],
    ) -> Self {
        Self {
            sessions,
            spot: None,
            origins,
            rank,
        }
    }

    pub(super) const fn sessions(&self) -> &Sessions {
        self.sessions
    }

    /// Adds a version of a session, or puts it in the place of itself.
    pub(super) fn begin(&mut self, entry: &EntryBuf, placement: Placement) {
        self.end(entry);
        let Placement { status, spot } = placement;
        let spot = (status.outward() != Status::Offline).then_some(spot);
        let session = Session {
            version: entry.version(),
            birth: entry.birth(),
            origin: self.origins.hold(entry.origin()),
            status,
            parts: spot.as_ref().map(Parts::of).unwrap_or_default(),
        };
        self.insert(session, spot);
    }

    /// Puts a version of a session in the place of another one.
    pub(super) fn update(&mut self, old: &EntryBuf, new: &EntryBuf, placement: Placement) {
        if let Sessions::Many(_) = self.sessions {
            // Two sessions stay two: no memory goes back and forth.
            self.begin(new, placement);
            if !is_same(old, new) {
                self.end(old);
            }
        } else {
            self.end(old);
            self.begin(new, placement);
        }
    }

    /// Removes a version of a session; an unknown one changes nothing.
    pub(super) fn end(&mut self, entry: &EntryBuf) {
        if let Some(origin) = self.origins.find(entry.origin()) {
            let version = entry.version();
            self.end_named(Name { origin, version });
        }
    }

    /// Removes a version of a session; an unknown one changes nothing.
    pub(super) fn end_named(&mut self, name: Name) {
        match self.sessions {
            Sessions::One(one) if one.0.name() == name => {
                *self.sessions = Sessions::None;
                self.spot = None;
            }
            Sessions::Many(many) => {
                let Some(held) = many.by_name.remove(&name) else {
                    return;
                };
                let place = place(&held.session, self.origins, self.rank);
                many.order.remove(&place);
                if many.by_name.len() == 1
                    && let Some((_, last)) = many.by_name.pop_first()
                {
                    self.spot = last.spot;
                    *self.sessions = Sessions::One(One(last.session));
                }
            }
            _ => return,
        }
        self.origins.release(name.origin);
    }

    fn insert(&mut self, session: Session, spot: Option<Spot>) {
        let mut many = match std::mem::take(self.sessions) {
            Sessions::None => {
                self.spot = spot;
                *self.sessions = Sessions::One(One(session));
                return;
            }
            Sessions::One(one) => {
                let mut many = Box::<Many>::default();
                many.insert(one.0, self.spot.take(), self.origins, self.rank);
                many
            }
            Sessions::Many(many) => many,
        };
        many.insert(session, spot, self.origins, self.rank);
        *self.sessions = Sessions::Many(many);
    }

    /// Takes what the deciding session says of the row, if the row has it not: it is to be written
    /// there.
    pub(super) fn take_spot(&mut self) -> Option<Spot> {
        let deciding = self.sessions.deciding()?;
        match self.sessions {
            Sessions::Many(many) => many.by_name.get_mut(&deciding.name)?.spot.take(),
            _ => self.spot.take(),
        }
    }

    /// Returns the parts of the row that a session has a say in, if it is still there and does not
    /// decide any more, and the row is the only place that has them.
    pub(super) fn displaced(&self, name: Name) -> Option<Parts> {
        let Sessions::Many(many) = &self.sessions else {
            return None;
        };
        let held = many.by_name.get(&name)?;
        let visible = held.session.status.outward() != Status::Offline;
        let decides = self.sessions.deciding()?.name == name;
        (visible && !decides && held.spot.is_none()).then_some(held.session.parts)
    }

    /// Keeps what a displaced session says of the row.
    pub(super) fn keep(&mut self, name: Name, spot: Option<Spot>) {
        if let Sessions::Many(many) = self.sessions
            && let Some(held) = many.by_name.get_mut(&name)
        {
            held.spot = spot;
        }
    }
}

impl Many {
    fn insert(
        &mut self,
        session: Session,
        spot: Option<Spot>,
        origins: &Origins,
        rank: &[u8; Status::ALL.len()],
    ) {
        self.order.insert(place(&session, origins, rank));
        self.by_name.insert(session.name(), Held { session, spot });
    }
}

fn place(session: &Session, origins: &Origins, rank: &[u8; Status::ALL.len()]) -> Place {
    let origin: &Origin = origins.get(session.origin);
    let dot = Dot {
        origin: origin.clone(),
        birth: session.birth,
    };
    Place {
        rank: rank[session.status as usize],
        dot: Reverse(dot),
        version: Reverse(session.version),
        origin: session.origin,
        status: session.status,
    }
}

/// Returns whether two entries are the same version of a session, of the same life of a replica.
fn is_same(one: &EntryBuf, other: &EntryBuf) -> bool {
    one.version() == other.version() && one.origin() == other.origin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_with_one_session_takes_24_bytes() {
        assert_eq!(size_of::<Sessions>(), 24);
    }
}
