//! What a user is doing.

use std::fmt;

/// What a user is doing, as one session or all of them together say.
///
/// On the wire it is the status byte of an entry; bytes this version does not know read as
/// [`Online`](Self::Online).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Status {
    /// Here and active.
    #[default]
    Online = 0,
    /// Here, but away from the keyboard.
    Idle = 1,
    /// Here, not to be disturbed.
    Dnd = 2,
    /// Here, but offline to everybody else.
    Invisible = 3,
    /// Not here. Only the answer of a roster, never the status of a session.
    Offline = 4,
}

impl Status {
    /// All of them, in the order of their bytes.
    pub const ALL: [Self; 5] = [
        Self::Online,
        Self::Idle,
        Self::Dnd,
        Self::Invisible,
        Self::Offline,
    ];

    /// The status a session states in its status byte.
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

    /// The word for it: `online`, `idle`, `dnd`, `invisible`, `offline`.
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

    /// Returns what others see: invisible is offline.
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
