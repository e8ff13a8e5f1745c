//! `App`: the state that every request and socket shares, read without a lock; its parts lock themselves.

use std::sync::{Arc, atomic::AtomicBool};

use tokio_util::task::TaskTracker;

use crate::{
    auth::{Identity, Passwords, Revocations, Tokens},
    config::Config,
    connections::Connections,
    db::{self, Db, Role},
    error::ApiError,
    inbox::Inboxes,
    limit::{AuthLimit, MessageLimit},
    meters::{Admission, PushMeters},
    names::Username,
    room::Hub,
    validate,
};

/// The state that every request and socket shares.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) tenants: Vec<Arc<str>>,
    pub(crate) db: Db,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(crate) message_limit: MessageLimit,
    pub(crate) auth_limit: AuthLimit,
    pub(crate) push_meters: PushMeters,
    pub(crate) admission: Admission,
    pub(crate) hub: Hub,
    pub(crate) inboxes: Inboxes,
    pub(crate) connections: Connections,
    pub(crate) revocations: Revocations,
    /// Tasks that a stop waits for: sockets, and changes that must not be interrupted.
    pub(crate) tasks: TaskTracker,
    pub(crate) ready: AtomicBool,
}

impl App {
    /// Runs a change of stored data to its end, also if the caller is dropped: the server also
    /// shows every change that it stores.
    pub(crate) async fn finish<T, E>(
        &self,
        change: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: Into<ApiError> + Send + 'static,
    {
        let done = self.tasks.spawn(change).await;
        done.map_err(|e| ApiError::Internal(Box::new(e)))?
            .map_err(Into::into)
    }

    /// Removes what is left of deleted rooms. A failure is in the log: the next deletion or start tries it again.
    pub(crate) async fn purge_rooms(&self) {
        if let Err(error) = self.db.purge_rooms().await {
            tracing::error!(%error, "deleted rooms could not be removed");
        }
    }

    /// Returns the user that `token` names, or `None` if its signature or its tenant does not hold, or it was
    /// revoked. A registered user must exist, and has the name that is stored; a guest's name must look like no user's.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<Option<Identity>, ApiError> {
        let Some(mut identity) = self.tokens.verify(token) else {
            return Ok(None);
        };
        identity.generation = self.revocations.generation();
        let is_revoked = |id| self.revocations.contains(id);
        if !self.tenants.contains(&identity.tenant) || identity.token_id.is_some_and(is_revoked) {
            return Ok(None);
        }
        if !identity.guest {
            let holder = self.db.token_holder(&identity.tenant, identity.id);
            let Some((username, tokens_since)) = holder.await? else {
                return Ok(None);
            };
            identity.username = username.into();
            return Ok((identity.issued_at >= tokens_since).then_some(identity));
        }
        let Some(name) = Username::of_guest(&identity.username) else {
            return Ok(None);
        };
        let is_free =
            name.is_guest() || !self.db.is_taken(&identity.tenant, &name.skeleton).await?;
        Ok(is_free.then_some(identity))
    }

    /// Returns the room of that id in the caller's tenant. Simulated rooms exist with `--demo` only.
    pub(crate) async fn room(&self, caller: &Identity, id: &str) -> Result<db::Room, ApiError> {
        let not_found = ApiError::NotFound("no such room");
        let Some(id) = validate::room_id(id) else {
            return Err(not_found);
        };
        let room = self.db.room(&caller.tenant, id).await?;
        room.filter(|room| !room.simulated || self.config.demo > 0)
            .ok_or(not_found)
    }

    /// Returns the role of `caller` in `room`; `None` may not read or write there. Guests are in every public
    /// room; users in the rooms that they joined.
    pub(crate) async fn role(
        &self,
        caller: &Identity,
        room: &db::Room,
    ) -> Result<Option<Role>, ApiError> {
        if caller.guest {
            return Ok((!room.private).then_some(Role::Member));
        }
        Ok(self.db.role(room.id, caller.id).await?)
    }
}
