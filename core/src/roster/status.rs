//! The status of a user or a session.

use std::fmt;

/// The status of a session, or of a user over all of their sessions.
///
/// On the wire it is the status byte of an entry; unknown bytes read as [`Online`](Self::Online).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Status {
    /// Present and active.
    #[default]
    Online = 0,
    /// Present, but away from the keyboard.
    Idle = 1,
    /// Present, not to be disturbed.
    Dnd = 2,
    /// Present, but offline to everyone else.
    Invisible = 3,
    /// Absent: a roster answers it, a session never states it.
    Offline = 4,
}

impl Status {
    /// Every status, in the order of their bytes.
    pub const ALL: [Self; 5] = [
        Self::Online,
        Self::Idle,
        Self::Dnd,
        Self::Invisible,
        Self::Offline,
    ];

    /// Returns the status that a session states in its status byte.
    ///
    /// ```
    /// use headcount::Status;
    /// assert_eq!(Status::of_session(2), Status::Dnd);
    /// assert_eq!(Status::of_session(200), Status::Online);
    /// ```
    #[must_use]
    pub fn of_session(byte: u8) -> Self {
        match byte {
            1 => Self::Idle,
            2 => Self::Dnd,
            3 => Self::Invisible,
            _ => Self::Online,
        }
    }

    /// Returns its name: `online`, `idle`, `dnd`, `invisible`, `offline`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Idle => "idle",
            Self::Dnd => "dnd",
            Self::Invisible => "invisible",
            Self::Offline => "offline",
        }
    }

    /// Returns the status that others see: offline for invisible.
    #[must_use]
    pub fn outward(self) -> Self {
        if self == Self::Invisible {
            Self::Offline
        } else {
            self
        }
    }
}

impl std::str::FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Self, UnknownStatus> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == word);
        found.ok_or_else(|| UnknownStatus(word.chars().take(32).collect()))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownStatus(String);

impl fmt::Display for UnknownStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown status {:?}: one of online, idle, dnd, invisible, offline",
            self.0
        )
    }
}

impl std::error::Error for UnknownStatus {}
