//! The payloads of members.

use bytes::Bytes;

use crate::member_list::limits::PAYLOAD_MAX;
use crate::member_list::store::table::Table;
use crate::member_list::{Id, ListError};

impl<I: Id> Table<I> {
    /// Checks that members can have a payload.
    pub(crate) fn check_payload(&self, payload: &Bytes) -> Result<(), ListError> {
        if self.payloads.is_none() {
            return Err(ListError::NoPayloads);
        }
        if payload.len() > PAYLOAD_MAX {
            return Err(ListError::PayloadTooLong {
                len: payload.len(),
                max: PAYLOAD_MAX,
            });
        }
        Ok(())
    }

    /// Sets the payload of a slot, which was checked. Returns whether it differs from the old one.
    pub(crate) fn put_payload(&mut self, slot: u32, payload: Bytes) -> bool {
        match self.payloads.as_mut() {
            Some(payloads) if payloads[slot as usize] != payload => {
                *payloads.at_mut(slot as usize) = payload;
                true
            }
            _ => false,
        }
    }

    /// The payload of a slot; `None` without payloads. O(1).
    pub(crate) fn payload(&self, slot: u32) -> Option<&Bytes> {
        self.payloads
            .as_ref()
            .map(|payloads| &payloads[slot as usize])
    }
}
