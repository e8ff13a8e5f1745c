//! The settings of a list.

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
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            headers: true,
            payloads: false,
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
