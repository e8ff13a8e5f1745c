//! Whole states that no frame takes: captured once, and encoded part by part as askers draw them.

use super::answers::{found, found_captured, served};
use super::jobs::Job;
use super::{Partitions, Watched};
use crate::fault::{Fault, is_broken};
use crate::replica::output::{Answered, Found, Serve, ServePart, ServedPart};
use crate::tracker::{ContentKind, Contents, OriginInfo};

/// A capture that askers share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    capture: u64,
    /// The clock when it began.
    to: u64,
    /// The most bytes of one of its parts.
    bytes_max: usize,
}

impl Partitions {
    /// Answers with the whole own state of a partition.
    pub(super) fn serve_whole(
        &mut self,
        serve: Serve,
        own: &OriginInfo,
        watched: Watched<'_>,
    ) -> Answered {
        let slice_max = self.slice_max;
        let Some(part) = self.parts.get_mut(&serve.partition) else {
            return served(&serve, Found::Nothing);
        };
        if own.entries as usize <= slice_max
            && let Some(contents) = part.tracker.whole_content(serve.bytes_max)
        {
            return served(&serve, found(&serve, contents));
        }
        // An asker that has nothing may have dropped what it was shown: it must not go back.
        let clock_min = serve.shown.max(serve.clock);
        let is_shared = |shared: &&Shared| {
            let is_new = shared.to >= clock_min || is_broken(Fault::ShareOldCapture);
            shared.bytes_max == serve.bytes_max && is_new
        };
        let shared = part.capture.as_deref().filter(is_shared);
        let capture = shared.map(|shared| shared.capture).unwrap_or_else(|| {
            let bytes_max = serve.bytes_max;
            let capture = part.tracker.begin_capture(bytes_max, serve.saved_max);
            let to = own.clock;
            part.capture = Some(Box::new(Shared {
                capture,
                to,
                bytes_max,
            }));
            capture
        });
        self.slice(Job::Capture { serve, capture }, Vec::new(), watched)
    }

    /// Does a slice of a capture, for each asker that waits for it.
    pub(super) fn capture_slice(&mut self, serve: Serve, capture: u64) -> Answered {
        let Some(part) = self.parts.get_mut(&serve.partition) else {
            return served(&serve, Found::Nothing);
        };
        match part.tracker.step_capture(capture, self.slice_max) {
            Some(false) => {
                self.jobs.put(Job::Capture { serve, capture });
                Answered::Nothing
            }
            Some(true) => {
                let found = self.found_captured(&serve, capture);
                served(&serve, found.unwrap_or(Found::Nothing))
            }
            None => {
                self.end_capture(serve.partition, capture);
                served(&serve, Found::Nothing)
            }
        }
    }

    /// Returns the answer of a state that is captured: one frame may take it.
    fn found_captured(&mut self, serve: &Serve, capture: u64) -> Option<Found> {
        let tracker = &self.parts.get(&serve.partition)?.tracker;
        let captured = tracker.captured(capture)?;
        if captured.parts > 1 {
            return Some(found_captured(serve, capture, captured));
        }
        let content = tracker.captured_part(capture, 0)?;
        let contents = Contents {
            from: 0,
            to: captured.to,
            content: ContentKind::Repair(content),
        };
        if !self.jobs.is_capturing(serve.partition, capture) {
            self.end_capture(serve.partition, capture);
        }
        Some(found(serve, contents))
    }

    /// Encodes a part of a captured state.
    pub(super) fn serve_part(&self, request: ServePart) -> Answered {
        let part = self.parts.get(&request.partition);
        let tracker = part.map(|part| &part.tracker);
        let content = tracker.and_then(|t| t.captured_part(request.capture, request.part));
        let captured = tracker.and_then(|t| t.captured(request.capture));
        Answered::Part(ServedPart {
            request,
            content: content.map(Into::into),
            bytes: captured.map_or(0, |captured| captured.bytes),
        })
    }

    /// Gives a capture up.
    pub(super) fn end_capture(&mut self, partition: u16, capture: u64) {
        if let Some(part) = self.parts.get_mut(&partition) {
            part.tracker.end_capture(capture);
            if part
                .capture
                .as_ref()
                .is_some_and(|shared| shared.capture == capture)
            {
                part.capture = None;
            }
        }
        self.tidy(partition);
    }
}
