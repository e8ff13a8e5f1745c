//! `LostSessions`: the sessions whose connections ended without a leave, until their users return or their grace is
//! over. The room's lock guards it.

use std::{collections::HashMap, sync::Arc, time::Instant};

use headcount::Status;
use uuid::Uuid;

use super::{subscribers::Visitor, subscription_id::SubscriptionId};

/// The lost sessions, by user. They are still present.
#[derive(Debug, Default)]
pub(super) struct LostSessions(HashMap<Uuid, Vec<LostSession>>);

#[derive(Debug)]
pub(super) struct LostSession {
    pub(super) id: SubscriptionId,
    pub(super) user: Uuid,
    device: Option<Arc<str>>,
    /// As they are in the presence entry.
    pub(super) status: Status,
    pub(super) online_at: i64,
    until: Instant,
}

impl LostSessions {
    /// Adds the session of a visitor until the end of its grace.
    pub(super) fn add(&mut self, id: SubscriptionId, visitor: &Visitor, until: Instant) {
        let user = visitor.identity.id;
        self.0.entry(user).or_default().push(LostSession {
            id,
            user,
            device: visitor.device.clone(),
            status: visitor.status,
            online_at: visitor.online_at,
            until,
        });
    }

    /// Takes the session to which a visitor returns: one of its device; of any, if either names none.
    pub(super) fn take(&mut self, visitor: &Visitor) -> Option<LostSession> {
        let user = visitor.identity.id;
        let sessions = self.0.get_mut(&user)?;
        let is_same = |lost: &LostSession| {
            let devices = lost.device.as_ref().zip(visitor.device.as_ref());
            devices.is_none_or(|(lost, back)| lost == back)
        };
        let position = sessions.iter().position(is_same)?;
        let session = sessions.swap_remove(position);
        if sessions.is_empty() {
            self.0.remove(&user);
        }
        Some(session)
    }

    /// Takes the sessions that `applies` accepts.
    pub(super) fn take_where(
        &mut self,
        applies: impl Fn(&LostSession) -> bool,
    ) -> Vec<LostSession> {
        let mut taken = Vec::new();
        self.0.retain(|_, sessions| {
            taken.extend(sessions.extract_if(.., |lost| applies(lost)));
            !sessions.is_empty()
        });
        taken
    }

    /// Takes the sessions whose grace is over.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<LostSession> {
        self.take_where(|lost| lost.until <= now)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
