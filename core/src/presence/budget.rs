//! One budget for the leave logs of all origins and slots.

use std::time::Duration;

use super::Presence;
use super::cluster::Control;

/// Bytes of one remembered leave.
const LEAVE_LEN: usize = 24;

/// The logs are looked at this often.
const PERIOD: Duration = Duration::from_secs(1);

impl Presence {
    /// Cuts the longest leave logs in half until all fit the budget. What was cut costs a later
    /// holder a `Repair` instead of a `Delta`.
    pub(super) fn bound_leave_logs(&self, control: &mut Control) {
        if control.now < control.budget_at {
            return;
        }
        control.budget_at = control.now + PERIOD;
        let logs = self
            .slots
            .iter()
            .map(|tracker| tracker.read().leave_log_len());
        let mut total: usize = logs.sum();
        while total * LEAVE_LEN > self.leave_log_bytes_max {
            let longest = self.slots.iter().filter_map(|slot| {
                let (id, len) = slot.read().longest_leave_log()?;
                Some((len, id, slot))
            });
            let Some((len, id, slot)) = longest.max_by_key(|(len, ..)| *len) else {
                return;
            };
            slot.write().limit_leaves(&id, len / 2);
            total -= len - len / 2;
        }
    }
}
