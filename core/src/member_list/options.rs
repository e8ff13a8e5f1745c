//! Settings of a list.

/// What a list is made with.
///
/// ```
/// use headcount::{ListOptions, MemberList};
///
/// let list = MemberList::<u64>::new(ListOptions::default().without_headers());
/// assert_eq!(list.len(), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOptions {
    pub(super) headers: bool,
    pub(super) payloads: bool,
}

impl Default for ListOptions {
    /// Header rows, no payloads.
    fn default() -> Self {
        Self {
            headers: true,
            payloads: false,
        }
    }
}

impl ListOptions {
    /// Groups have no header rows: the index space is members only.
    pub fn without_headers(mut self) -> Self {
        self.headers = false;
        self
    }

    /// The list keeps one byte string for each member.
    pub fn with_payloads(mut self) -> Self {
        self.payloads = true;
        self
    }
}
