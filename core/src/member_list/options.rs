//! The settings of a list.

use std::time::Duration;

/// Bounds what a list keeps for clients that are away, in time and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResumeLimits {
    pub(crate) keep: Duration,
    pub(crate) bytes_max: usize,
}

impl Default for ResumeLimits {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(60),
            bytes_max: 32 << 20,
        }
    }
}

impl ResumeLimits {
    /// The most bytes of windows that viewers leave between two ticks; 0 keeps none.
    pub(crate) const fn arrivals_max(self) -> usize {
        if self.keep.is_zero() {
            0
        } else {
            self.bytes_max / 4
        }
    }
}

/// The settings of a [`MemberList`](crate::member_list::MemberList).
///
/// ```
/// use headcount::{ListOptions, MemberList};
///
/// let list = MemberList::<u64>::new(ListOptions::default().headers(false).payloads(true));
/// assert!(!list.options().has_headers());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOptions {
    pub(super) headers: bool,
    pub(super) payloads: bool,
    pub(super) resume: ResumeLimits,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            headers: true,
            payloads: false,
            resume: ResumeLimits::default(),
        }
    }
}

impl ListOptions {
    /// Sets whether each group with members has a header row before them. Default `true`; without
    /// headers the index space is members only.
    #[must_use]
    pub fn headers(mut self, headers: bool) -> Self {
        self.headers = headers;
        self
    }

    /// Sets whether the list keeps one byte string for each member. Default `false`.
    #[must_use]
    pub fn payloads(mut self, payloads: bool) -> Self {
        self.payloads = payloads;
        self
    }

    /// Sets how long the list keeps the windows of clients that went away, and the last steps of
    /// their windows, so that a client that comes back gets what changed and not all rows again;
    /// see [`Viewer::resume`](crate::member_list::Viewer::resume). Default 60 s; zero keeps nothing.
    /// Windows of which no viewer is [resumable](crate::member_list::Viewer::resumable) cost
    /// nothing. Saved lists have no such setting: see
    /// [`MemberList::set_resume`](crate::member_list::MemberList::set_resume).
    #[must_use]
    pub fn resume_for(mut self, keep: Duration) -> Self {
        self.resume.keep = keep;
        self
    }

    /// Sets the most bytes that are kept for such clients; the oldest go first. Default 32 MiB; 0
    /// keeps nothing.
    #[must_use]
    pub fn resume_bytes_max(mut self, bytes: usize) -> Self {
        self.resume.bytes_max = bytes;
        self
    }

    /// Returns whether groups have header rows.
    #[must_use]
    pub fn has_headers(&self) -> bool {
        self.headers
    }

    /// Returns whether the list keeps payloads.
    #[must_use]
    pub fn has_payloads(&self) -> bool {
        self.payloads
    }
}
