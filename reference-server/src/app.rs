//! `App`: the state that every request and socket shares, read without a lock; its parts lock themselves.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use headcount::Status;
use serde_json::json;
use tokio::{sync::SetOnce, time::sleep};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{
    auth::{Identity, Passwords, Revocations, Tokens},
    cluster::Cluster,
    config::Config,
    connections::{Connections, Contact},
    db::{self, Db, Role, StorageError},
    error::ApiError,
    inbox::Inboxes,
    limit::{AuthLimit, MessageLimit},
    meters::{Admission, Kind, PushMeters},
    metrics::{Metrics, Sample},
    names::Username,
    oidc::Oidc,
    room::{Hub, Occupation, Transition, session_status},
    socket::{CloseReason, Outbox, Vsn},
    talkers::Talkers,
    validate,
    webhook_site::Site,
    webhooks::{EventKind, Webhooks},
};

/// The pause before a stored change is shown that could not be.
const SHOW_RETRY: Duration = Duration::from_secs(1);
const NO_ROOM: ApiError = ApiError::NotFound("no such room");

/// The state that every request and socket shares.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) tenants: Vec<Arc<str>>,
    pub(crate) db: Db,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    /// The provider at which users may sign in too.
    pub(crate) oidc: Option<Oidc>,
    pub(crate) message_limit: MessageLimit,
    pub(crate) auth_limit: AuthLimit,
    pub(crate) push_meters: PushMeters,
    pub(crate) admission: Admission,
    pub(crate) hub: Hub,
    /// The other nodes, unless this is the only one.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) inboxes: Inboxes,
    pub(crate) connections: Connections,
    pub(crate) revocations: Revocations,
    pub(crate) webhooks: Webhooks,
    /// The site that is told of events, if the settings name one.
    pub(crate) webhook_site: Option<Site>,
    pub(crate) metrics: Metrics,
    pub(crate) talkers: Talkers,
    pub(crate) started: Instant,
    /// Tasks that a stop waits for: sockets, and changes that must not be interrupted.
    pub(crate) tasks: TaskTracker,
    /// Names a task that has ended and without which the server cannot go on.
    pub(crate) ended: SetOnce<&'static str>,
    pub(crate) ready: AtomicBool,
    /// True once the server closes its connections.
    pub(crate) is_draining: AtomicBool,
    pub(crate) grace_ms: AtomicU64,
}

impl App {
    /// Returns the time for which the sessions of a lost connection stay.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms.load(Ordering::Relaxed))
    }

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

    /// Shows a change that is stored. While the database does not answer for that, it is tried again behind the answer
    /// to the change, which is none of failure: `step` may run more than once.
    pub(crate) async fn show<F>(self: &Arc<Self>, step: impl Fn(Arc<Self>) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), StorageError>> + Send,
    {
        let Err(error) = step(Arc::clone(self)).await else {
            return;
        };
        tracing::error!(%error, "a stored change could not be shown yet");
        let app = Arc::clone(self);
        self.tasks.spawn(async move {
            while !app.is_draining.load(Ordering::Acquire) {
                sleep(SHOW_RETRY).await;
                match step(Arc::clone(&app)).await {
                    Ok(()) => return,
                    Err(error) => tracing::error!(%error, "a stored change is not shown yet"),
                }
            }
        });
    }

    /// Removes what is left of deleted rooms. A failure is in the log: the next deletion or start tries it again.
    pub(crate) async fn purge_rooms(&self) {
        if let Err(error) = self.db.purge_rooms().await {
            tracing::error!(%error, "deleted rooms could not be removed");
        }
    }

    /// Removes the rate limit windows that have ended from a shared database.
    pub(crate) async fn prune_message_windows(&self) {
        if let Err(error) = self.db.prune_message_windows().await {
            tracing::error!(%error, "expired message windows could not be removed");
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
            let Some(holder) = holder.await? else {
                return Ok(None);
            };
            identity.username = holder.username.into();
            identity.status = session_status(&holder.status).unwrap_or_default();
            return Ok((identity.issued_at >= holder.tokens_since).then_some(identity));
        }
        let Some(name) = Username::of_guest(&identity.username) else {
            return Ok(None);
        };
        let is_free =
            name.is_guest() || !self.db.is_taken(&identity.tenant, &name.skeleton).await?;
        Ok(is_free.then_some(identity))
    }

    /// Changes the status of a user on all its devices, and in all rooms; that of a registered user is kept.
    pub(crate) async fn choose_status(
        self: &Arc<Self>,
        user: &Identity,
        status: Status,
    ) -> Result<(), ApiError> {
        let app = Arc::clone(self);
        let id = user.id;
        let guest = user.guest;
        let tenant = Arc::clone(&user.tenant);
        self.finish(async move {
            if !guest {
                app.db.set_status(id, status.as_str()).await?;
                // To the others it goes offline now; that it really leaves later is not shown.
                if status == Status::Invisible && app.status_of(id) != Status::Offline {
                    app.note_last_seen(&[id]).await;
                }
            }
            let was_shown = app.connections.status_of(id) != Status::Offline;
            app.show_status(id, status);
            let is_shown = app.connections.status_of(id) != Status::Offline;
            match (was_shown, is_shown) {
                (false, true) => app.note_user(EventKind::UserOnline, &tenant, id),
                (true, false) => app.note_user(EventKind::UserOffline, &tenant, id),
                _ => {}
            }
            Ok::<_, ApiError>(())
        })
        .await
    }

    /// Lets the rooms publish what has changed.
    pub(crate) fn beat(&self, now: Instant) {
        let changed = self.hub.beat(&self.inboxes, &self.metrics.list_ticks, now);
        self.metrics.beats.record(now.elapsed());
        for (room, occupation) in changed {
            let kind = match occupation {
                Occupation::Occupied => EventKind::RoomOccupied,
                Occupation::Vacated => EventKind::RoomVacated,
            };
            let data = || json!({ "room_id": room.id });
            self.webhooks.note(kind, room.tenant(), data);
        }
        for transition in self.hub.presence.take_transitions() {
            self.note_transition(&transition);
        }
    }

    /// Waits until this node knows the others of its cluster, if it has one, and what is online there.
    pub(crate) async fn know_others(&self) {
        let presence = &self.hub.presence;
        presence.synced().await;
        if let Some(cluster) = &self.cluster {
            let down_after = Duration::from_millis(self.config.down_after_ms);
            cluster.heard_all(presence, down_after).await;
        }
    }

    /// Returns whether start-up is done and no stop has begun.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_draining.load(Ordering::Acquire)
    }

    /// Waits until a connection may open. Returns false, and counts it, if it may not soon.
    pub(crate) async fn admit_connection(&self) -> bool {
        let refused = if self.is_draining.load(Ordering::Acquire) {
            "draining"
        } else if self.admission.admit().await {
            return true;
        } else {
            "admission"
        };
        self.metrics.refuse_connect(refused);
        false
    }

    /// Charges a sign-in to the rate of its address.
    pub(crate) fn charge_sign_in(&self, address: IpAddr) -> Result<(), ApiError> {
        let charged = self.auth_limit.check(address);
        charged.inspect_err(|_| self.metrics.limit("sign_ins"))
    }

    /// Charges a push or a request to the rate of its kind that its user has. Returns the time to wait as an error.
    pub(crate) fn meter(&self, kind: Kind, user: Uuid) -> Result<(), Duration> {
        let checked = self.push_meters.check(kind, user);
        checked.inspect_err(|_| self.metrics.limit(kind.as_str()))
    }

    /// Does so for a request.
    pub(crate) fn charge_request(&self, kind: Kind, user: Uuid) -> Result<(), ApiError> {
        self.meter(kind, user).map_err(ApiError::rate_limited)
    }

    /// Reads the values that the metrics do not follow. O(connections and rooms in memory).
    pub(crate) fn sample(&self) -> Sample {
        let mut sample = Sample {
            uptime: self.started.elapsed(),
            is_ready: self.is_ready(),
            presence_entries: self.hub.presence.len(),
            node: self.hub.presence.node_stats(),
            ..Sample::default()
        };
        self.hub.sample(&mut sample);
        self.connections.sample(&mut sample);
        sample
    }

    /// Tells the webhook that a user or a room came or went in the cluster.
    fn note_transition(&self, transition: &Transition) {
        let (kind, name) = match (transition.is_room, transition.is_on) {
            (true, true) => (EventKind::RoomOccupied, "room_id"),
            (true, false) => (EventKind::RoomVacated, "room_id"),
            (false, true) => (EventKind::UserOnline, "user_id"),
            (false, false) => (EventKind::UserOffline, "user_id"),
        };
        let data = || json!({ name: transition.id });
        let name = (transition.event, transition.at);
        self.webhooks.note_as(name, kind, &transition.tenant, data);
    }

    /// Tells the webhook that a user came or went; in a cluster the transitions of presence do.
    pub(crate) fn note_user(&self, kind: EventKind, tenant: &str, user: Uuid) {
        if self.cluster.is_some() {
            return;
        }
        let data = || json!({ "user_id": user });
        self.webhooks.note(kind, tenant, data);
    }

    /// Ends all tokens of a user that were issued until now, and its connections. Of a guest those tokens end with
    /// which it is connected.
    pub(crate) async fn end_user(
        self: &Arc<Self>,
        tenant: &str,
        user: Uuid,
    ) -> Result<(), ApiError> {
        let is_registered = self.db.user(tenant, user).await?.is_some();
        let app = Arc::clone(self);
        self.finish(async move {
            if is_registered {
                app.db.end_tokens(user).await?;
            }
            app.end_connections(user, is_registered).await
        })
        .await
    }

    /// Adds a connection, with which the user may come online. Closes one whose token may have been revoked since it
    /// was checked: the client comes again.
    pub(crate) fn add_connection(
        &self,
        identity: &Identity,
        vsn: Vsn,
        contact: Contact,
        outbox: &Arc<Outbox>,
    ) {
        let is_new = self.connections.add(identity, vsn, contact, outbox);
        if identity.generation != self.revocations.generation() {
            outbox.close(CloseReason::TokenEnded);
        }
        if is_new {
            let presence = &self.hub.presence;
            presence.enter_user(identity.id, &identity.tenant, identity.status);
        }
        if is_new && identity.status != Status::Invisible {
            self.note_user(EventKind::UserOnline, &identity.tenant, identity.id);
        }
    }

    /// Forgets the users that have gone, and stores when; at the end of the server all of them.
    pub(crate) async fn note_gone(&self, now: Instant, grace: Duration) {
        let gone = self.connections.take_gone(now, grace);
        for gone in &gone {
            self.hub.presence.exit_user(gone.user);
            // It may have come back meanwhile.
            if let Some(status) = self.connections.chosen_status(gone.user) {
                let presence = &self.hub.presence;
                presence.enter_user(gone.user, &gone.tenant, status);
            }
        }
        for gone in gone.iter().filter(|gone| !gone.was_hidden) {
            self.note_user(EventKind::UserOffline, &gone.tenant, gone.user);
        }
        let is_gone = |user| self.hub.presence.status_of(user) == Status::Offline;
        let users = gone
            .iter()
            .filter(|gone| !gone.guest && !gone.was_hidden && is_gone(gone.user));
        let users: Vec<Uuid> = users.map(|gone| gone.user).collect();
        if !users.is_empty() {
            self.note_last_seen(&users).await;
        }
    }

    /// Stores that users were last seen now. A failure is in the log.
    async fn note_last_seen(&self, users: &[Uuid]) {
        if let Err(error) = self.db.note_last_seen(users).await {
            tracing::error!(%error, "the time at which users left could not be noted");
        }
    }

    /// Returns the room of that id in the caller's tenant. Simulated rooms exist with `--demo` only.
    pub(crate) async fn room(&self, caller: &Identity, id: &str) -> Result<db::Room, ApiError> {
        let id = validate::room_id(id).ok_or(NO_ROOM)?;
        let room = self.db.room(&caller.tenant, id).await?;
        room.filter(|room| self.has(room)).ok_or(NO_ROOM)
    }

    /// Returns the room of that id with the role of `caller` in it; `None` may not read or write there. Guests are in
    /// every public room; users in the rooms that they joined.
    pub(crate) async fn room_and_role(
        &self,
        caller: &Identity,
        id: &str,
    ) -> Result<(db::Room, Option<Role>), ApiError> {
        let id = validate::room_id(id).ok_or(NO_ROOM)?;
        let found = self.db.room_and_role(&caller.tenant, id, caller.id);
        let found = found.await?.filter(|(room, _)| self.has(room));
        let (room, stored) = found.ok_or(NO_ROOM)?;
        let role = if caller.guest {
            (!room.private && !room.limited).then_some(Role::Member)
        } else {
            stored
        };
        Ok((room, role))
    }

    /// Returns the room of a topic with the role of `caller` in it, as [`Self::room_and_role`] does, if the room is
    /// open and tells both without the database. In a cluster it does not: what another node takes from a user is known
    /// here a moment later.
    pub(crate) fn known_room_and_role(
        &self,
        caller: &Identity,
        topic: &str,
    ) -> Option<(db::Room, Role)> {
        let (_, id) = topic.split_once(':').filter(|_| self.cluster.is_none())?;
        let open = self.hub.find(validate::room_id(id)?)?;
        let (room, role) = open.known_role(caller)?;
        (*open.topic == *topic && self.has(room)).then(|| (room.clone(), role))
    }

    /// Returns whether a stored room exists for clients.
    fn has(&self, room: &db::Room) -> bool {
        !room.simulated || self.config.demo > 0
    }

    /// Returns whether the roles of `caller` admit it to `room`, of which it may be no member.
    pub(crate) async fn admits(
        &self,
        caller: &Identity,
        room: &db::Room,
    ) -> Result<bool, ApiError> {
        if !room.limited || caller.guest {
            return Ok(!room.limited);
        }
        Ok(self.db.admits(room.id, caller.id).await?)
    }
}
