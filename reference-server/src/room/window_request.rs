//! `WindowRequest`: what a client asks of a member list, and why that is refused.

use std::fmt;

use headcount::member_list::{HeldWindow, WindowError};
use headcount::{MemberList, WindowSpec};
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
    pub(super) fn window(
        &self,
        list: &MemberList<u128>,
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
            Some(group) if list.groups().any(|known| known.name == *group) => {
                WindowSpec::search_in(group, &prefix, self.page)
            }
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
