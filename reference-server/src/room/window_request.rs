//! `WindowRequest`: what a client asks of a member list, the windows that it means, and why that is refused.

use std::fmt;

use headcount::WindowSpec;
use headcount::member_list::{HeldWindow, WindowError};
use serde::Deserialize;

use crate::name_order::NameOrder;

/// The longest text that is searched, in bytes: more than any name takes, however it is spelt.
const SEARCH_MAX: usize = 1_024;

/// A client's request about the member list, with windows by their canonical names.
#[derive(Debug)]
pub(crate) enum WindowRequest {
    Open { window: String },
    Search(SearchRequest),
    Move { from: String, window: String },
    Close { window: String },
    Resync { windows: Vec<String> },
    Resume { held: Vec<HeldWindow> },
}

/// A request with the windows that it names.
#[derive(Debug)]
pub(super) enum AskedWindows<'a> {
    Open(WindowSpec<u128>),
    Move {
        from: WindowSpec<u128>,
        to: WindowSpec<u128>,
    },
    Close(WindowSpec<u128>),
    Resync(Vec<WindowSpec<u128>>),
    Resume(&'a [HeldWindow]),
}

impl WindowRequest {
    /// Reads the names of windows, for a list with these groups.
    pub(super) fn windows(
        &self,
        is_group: impl Fn(&str) -> bool,
        order: &NameOrder,
    ) -> Result<AskedWindows<'_>, WindowRefusal> {
        let parse = |name: &String| WindowSpec::parse(name);
        Ok(match self {
            Self::Open { window } => AskedWindows::Open(parse(window)?),
            Self::Search(search) => AskedWindows::Open(search.window(is_group, order)?),
            Self::Move { from, window } => AskedWindows::Move {
                from: parse(from)?,
                to: parse(window)?,
            },
            Self::Close { window } => AskedWindows::Close(parse(window)?),
            Self::Resync { windows } => {
                let windows: Result<Vec<_>, WindowError> = windows.iter().map(parse).collect();
                AskedWindows::Resync(windows?)
            }
            Self::Resume { held } => AskedWindows::Resume(held),
        })
    }
}

/// A page of the members whose names begin with a text, in all groups or in one.
#[derive(Debug, Deserialize)]
pub(crate) struct SearchRequest {
    #[serde(rename = "search")]
    text: String,
    group: Option<String>,
    #[serde(default)]
    page: u32,
}

impl SearchRequest {
    /// Returns the window that shows it. The text becomes the beginning of a key as names become keys.
    fn window(
        &self,
        is_group: impl Fn(&str) -> bool,
        order: &NameOrder,
    ) -> Result<WindowSpec<u128>, WindowRefusal> {
        if self.text.len() > SEARCH_MAX {
            return Err(WindowRefusal::LongSearch);
        }
        let prefix = order.prefix(&self.text);
        if prefix.as_bytes().is_empty() {
            return Err(WindowRefusal::EmptySearch);
        }
        let spec = match &self.group {
            None => WindowSpec::search(&prefix, self.page),
            Some(group) if is_group(group) => WindowSpec::search_in(group, &prefix, self.page),
            Some(_) => return Err(WindowRefusal::UnknownGroup),
        };
        spec.check()?;
        Ok(spec)
    }
}

/// Why a request about the member list is refused. Nothing has changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WindowRefusal {
    /// The list refuses the window.
    Window(WindowError),
    /// The text has nothing by which names are sorted: every name would begin with it.
    EmptySearch,
    /// The text is longer than names can be.
    LongSearch,
    /// The list has no group of this name.
    UnknownGroup,
}

impl fmt::Display for WindowRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window(error) => error.fmt(f),
            Self::EmptySearch => f.write_str("nothing to search for"),
            Self::LongSearch => write!(f, "search text over {SEARCH_MAX} bytes"),
            Self::UnknownGroup => f.write_str("unknown group"),
        }
    }
}

impl From<WindowError> for WindowRefusal {
    fn from(error: WindowError) -> Self {
        Self::Window(error)
    }
}
