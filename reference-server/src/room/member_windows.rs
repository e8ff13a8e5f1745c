//! `MemberWindows`: the windows of a room's member list as its viewers are sent them. For them it is one list, whatever
//! list the room shows: one with the name of the room and epochs that grow.

use std::sync::Arc;

use headcount::member_list::{
    Bundle, BundleFormat, Discord, Epoch, HeldWindow, TableTick, Tick, Watchable,
};
use headcount::{Viewer, WindowSpec};

use super::{
    cards::Cards,
    window_request::{AskedWindows, WindowRefusal},
};

/// The format in which a viewer reads the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListFormat {
    Bundles(BundleFormat),
    Discord,
}

impl Default for ListFormat {
    fn default() -> Self {
        Self::Bundles(BundleFormat::One)
    }
}

/// The changes since the last tick, in the list of the room alone or in all lists of a table.
pub(super) enum MemberTick {
    Room(Box<Tick<u128>>),
    Table(Arc<TableTick<u128>>),
}

impl MemberTick {
    pub(super) fn bundle(&self, viewer: &mut Viewer<u128>) -> Option<Bundle<u128>> {
        match self {
            Self::Room(tick) => viewer.bundle(tick),
            Self::Table(tick) => tick.bundle(viewer),
        }
    }
}

/// The name and the epochs of the list for its viewers.
pub(super) struct MemberWindows {
    topic: Arc<str>,
    discord: Discord,
    /// Is added to the epochs of the list that the room shows; `None` until that has a first bundle.
    ahead: Option<u64>,
    /// The highest epoch that viewers were sent.
    newest: u64,
}

impl MemberWindows {
    pub(super) fn new(topic: &str) -> Self {
        Self {
            topic: topic.into(),
            discord: Discord::new(topic, "everyone"),
            ahead: Some(0),
            newest: 0,
        }
    }

    /// Begins with another list, whose epochs are to come after those that viewers were sent.
    pub(super) fn begin(&mut self) {
        self.ahead = (self.newest == 0).then_some(0);
    }

    pub(super) fn encode(&mut self, mut bundle: Bundle<u128>, format: ListFormat) -> String {
        text(&match format {
            ListFormat::Bundles(format) => {
                let epoch = &mut bundle.epoch.number;
                let first = (self.newest + 1).saturating_sub(*epoch);
                *epoch += *self.ahead.get_or_insert(first);
                self.newest = self.newest.max(*epoch);
                bundle.list = Arc::clone(&self.topic);
                bundle.to_json_in(format)
            }
            ListFormat::Discord => self.discord.event(&bundle),
        })
    }

    /// Returns a window that a client holds as the list knows it. One of another list is of an epoch that this one
    /// never had.
    fn translate(&self, held: &HeldWindow) -> HeldWindow {
        let number = self
            .ahead
            .and_then(|ahead| held.epoch.number.checked_sub(ahead));
        HeldWindow {
            epoch: Epoch {
                node: Arc::clone(&held.epoch.node),
                number: number.unwrap_or(0),
            },
            ..held.clone()
        }
    }

    /// Performs a viewer's request of a list. Returns a bundle to answer with, or `None` for a close.
    pub(super) fn request(
        &mut self,
        list: &mut impl Watchable<u128>,
        cards: &Cards,
        viewer: &mut Viewer<u128>,
        asked: AskedWindows<'_>,
        format: ListFormat,
    ) -> Result<Option<String>, WindowRefusal> {
        let bodies = cards.into();
        let bundle = match asked {
            AskedWindows::Open(window) => viewer.open(list, window, bodies)?,
            AskedWindows::Move { from, to } => viewer.retarget(list, &from, to, bodies)?,
            AskedWindows::Close(window) => {
                viewer.close(&window)?;
                let WindowSpec::Chunk(chunk) = window else {
                    return Ok(None);
                };
                let is_discord = format == ListFormat::Discord;
                let event = is_discord.then(|| self.discord.invalidate(viewer, chunk));
                return Ok(event.map(|event| text(&event)));
            }
            AskedWindows::Resync(windows) => viewer.resync(list, &windows, bodies)?,
            AskedWindows::Resume(held) => {
                let held: Vec<HeldWindow> = held.iter().map(|held| self.translate(held)).collect();
                viewer.resume(list, &held, bodies)?
            }
        };
        Ok(Some(self.encode(bundle, format)))
    }

    /// Shows a viewer of another list the windows that it has there in this one. Those that this list lacks, around a
    /// member or of a group, are left out; a client asks for them again.
    pub(super) fn switch(
        &mut self,
        list: &mut impl Watchable<u128>,
        cards: &Cards,
        viewer: &mut Viewer<u128>,
        format: ListFormat,
    ) -> Result<String, WindowRefusal> {
        let mut windows: Vec<WindowSpec<u128>> = viewer.windows().cloned().collect();
        let has = |window: &WindowSpec<u128>| {
            let opened = Viewer::new().open(list, window.clone(), cards.into());
            opened.is_ok()
        };
        windows.retain(has);
        let bundle = viewer.switch(list, &windows, cards.into())?;
        Ok(self.encode(bundle, format))
    }
}

fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}
