//! `--demo N`: a room of simulated members that join, leave and change their status.
//!
//! They are in the same presence as all users and are tracked through the same calls; only
//! their sessions have no socket. Each carries `"simulated": true`.

mod names;
pub(crate) mod simulated;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use headcount::Status;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    db::NewRoom,
    names::RoomName,
    room::{NewSession, Profile, Room, RoomPresence},
};

const ROOM: &str = "city";
const DESCRIPTION: &str = "Everybody here is simulated, except those who really came.";
/// Share of the members that are online at the start, in percent.
const PRESENT_PERCENT: u32 = 70;
/// Members tracked between two beats while the room is filled, and members loaded at once: a bound
/// on the time for which a join by a user waits.
const FILL_BATCH: usize = 10_000;
/// Steps per second in which the changes happen.
const STEPS: u32 = 20;
/// In a small room at most one in this many members changes per second.
const RATE_DIVISOR: u32 = 20;

/// Simulated members, and the status of those online.
pub(crate) struct City {
    room: Arc<Room>,
    present: Vec<Option<Status>>,
    rng: Rng,
}

/// Returns whether a name looks like that of the simulated room, which is kept free for it.
pub(crate) fn is_reserved(name: &RoomName) -> bool {
    RoomName::parse(Some(ROOM)).is_ok_and(|own| own.skeleton == name.skeleton)
}

/// Sets up the room and tracks most of its members.
pub(crate) async fn fill(app: &Arc<App>) -> Result<City, Box<dyn std::error::Error + Send + Sync>> {
    let started = Instant::now();
    let tenant = app.tenants.first().ok_or("no tenant")?;
    let name = RoomName::parse(Some(ROOM))?;
    let info = app
        .db
        .ensure_server_room(&NewRoom {
            tenant,
            name: &name.name,
            skeleton: &name.skeleton,
            description: DESCRIPTION,
            simulated: true,
            ..NewRoom::default()
        })
        .await?
        .ok_or("a user has a room of this name")?;
    let room = app
        .hub
        .open(&app.db, &info)
        .await?
        .ok_or("the room was deleted")?;
    room.pin();
    let members = app.config.demo as usize;
    let mut city = City {
        room,
        present: vec![None; members],
        rng: Rng::with_seed(1),
    };
    let app = Arc::clone(app);
    let filling = tokio::task::spawn_blocking(move || {
        city.fill(&app);
        tracing::info!(members, elapsed = ?started.elapsed(), "simulated room filled");
        city
    });
    Ok(filling.await?)
}

impl City {
    /// Tracks most members at once, and publishes that.
    fn fill(&mut self, app: &App) {
        let mut away = Vec::new();
        for i in 0..self.present.len() {
            if self.rng.u32(..100) < PRESENT_PERCENT {
                let status = self.random_status();
                self.enter(&app.hub.presence, i, status);
            } else {
                away.push(i);
            }
            if i % FILL_BATCH == FILL_BATCH - 1 {
                app.beat(Instant::now());
            }
        }
        for share in away.chunks(FILL_BATCH) {
            self.room.load_simulated(share);
        }
        app.beat(Instant::now());
    }

    /// Lets members join, leave and change until `shutdown`.
    pub(crate) async fn live(mut self, app: Arc<App>, shutdown: CancellationToken) {
        let members = u32::try_from(self.present.len()).unwrap_or(u32::MAX);
        let rate = app.config.demo_rate.min(members.div_ceil(RATE_DIVISOR));
        let mut step = time::interval(Duration::from_secs(1) / STEPS);
        step.set_missed_tick_behavior(time::MissedTickBehavior::Skip);
        let mut due = 0;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = step.tick() => {}
            }
            due += rate;
            while due >= STEPS {
                due -= STEPS;
                self.change(&app.hub.presence);
            }
        }
    }

    /// Changes one member at random.
    fn change(&mut self, presence: &RoomPresence) {
        let i = self.rng.usize(..self.present.len());
        match self.present[i] {
            // Offline members return at the rate at which the others leave.
            None => {
                if self.rng.u32(..100) < PRESENT_PERCENT {
                    self.enter(presence, i, Status::Online);
                }
            }
            Some(_) if self.rng.u32(..100) >= PRESENT_PERCENT => {
                self.present[i] = None;
                let id = simulated::id(i).to_string();
                let owner = owner(i);
                presence.untrack(&self.room.topic, &id, &owner);
            }
            Some(_) => {
                let status = self.random_status();
                self.present[i] = Some(status);
                self.write(presence, i, status);
            }
        }
    }

    fn enter(&mut self, presence: &RoomPresence, i: usize, status: Status) {
        self.present[i] = Some(status);
        self.write(presence, i, status);
    }

    /// Shows a member, or its change.
    fn write(&self, presence: &RoomPresence, i: usize, status: Status) {
        let profile = Profile {
            username: simulated::name(i).into(),
            staff: simulated::is_staff(i),
            simulated: true,
            ..Profile::default()
        };
        let shown = presence.put(&NewSession {
            topic: &self.room.topic,
            key: &simulated::id(i).to_string(),
            owner: &owner(i),
            profile: &profile.to_bytes(),
            status,
        });
        if let Err(error) = shown {
            tracing::warn!(%error, "presence refused a simulated member");
        }
    }

    fn random_status(&mut self) -> Status {
        match self.rng.u32(..100) {
            0..65 => Status::Online,
            65..90 => Status::Idle,
            _ => Status::Dnd,
        }
    }
}

fn owner(i: usize) -> String {
    format!("demo-{i}")
}
