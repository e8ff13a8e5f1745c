//! `Bridge`: a transport that is written in Python, as the node sees it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use bytes::Bytes;
use headcount::replica::{GroupSubscription, Transmit as CoreTransmit};
use headcount::runtime::{Incoming, Transport};
use parking_lot::Mutex;
use pyo3::prelude::*;
use tokio::sync::{Notify, mpsc};

use crate::convert::Buffer;
use crate::event::Transmit;
use crate::ready::Ready;
use crate::sync::Birth;

/// The frames that may wait for Python; more are lost.
const WAITING_MAX: usize = 4096;

/// The end of a transport that Python holds: it takes the frames to send, and hands over those received.
#[pyclass(frozen, module = "headcount._headcount")]
pub(crate) struct Bridge {
    birth: Birth,
    number: u64,
    shared: Arc<Shared>,
    incoming: mpsc::Sender<Incoming>,
}

struct Shared {
    /// The partitions whose frames are wanted from now on, or no longer. None is lost: there are at most as many as
    /// partitions.
    groups: Mutex<BTreeMap<u16, bool>>,
    outgoing: Mutex<VecDeque<CoreTransmit>>,
    waker: Waker,
    /// The questions whether all frames that reached the process are handed over, and the last one answered.
    asked: AtomicU64,
    answered: AtomicU64,
    answer: Notify,
    is_closed: AtomicBool,
}

/// The end that the node holds.
pub(crate) struct BridgeTransport {
    frame_max: usize,
    shared: Arc<Shared>,
    incoming: mpsc::Receiver<Incoming>,
}

/// Makes the two ends of a transport.
pub(crate) fn bridge(ready: &Arc<Ready>, frame_max: usize) -> (Bridge, BridgeTransport) {
    let (number, waker) = ready.waker();
    let shared = Arc::new(Shared {
        groups: Mutex::default(),
        outgoing: Mutex::default(),
        waker,
        asked: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        answer: Notify::new(),
        is_closed: AtomicBool::new(false),
    });
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let bridge = Bridge {
        birth: Birth::now(),
        number,
        shared: Arc::clone(&shared),
        incoming: sender,
    };
    let transport = BridgeTransport {
        frame_max,
        shared,
        incoming: receiver,
    };
    (bridge, transport)
}

#[pymethods]
impl Bridge {
    /// The number under which the node reports frames to send and questions.
    #[getter]
    fn number(&self) -> u64 {
        self.number
    }

    /// Return the partitions whose frames are wanted from now on (true) or no longer (false), the frames to send, and
    /// the number of the last question: answer it with `settled` once every frame that has reached this process is
    /// delivered.
    fn take(&self) -> PyResult<(BTreeMap<u16, bool>, Vec<Transmit>, u64)> {
        self.birth.check()?;
        let asked = self.shared.asked.load(Ordering::Acquire);
        let outgoing = std::mem::take(&mut *self.shared.outgoing.lock());
        // What was wanted before a frame was sent is there when the frame is.
        let groups = std::mem::take(&mut *self.shared.groups.lock());
        let outgoing = outgoing.into_iter().map(Transmit::from).collect();
        Ok((groups, outgoing, asked))
    }

    /// Answer a question.
    fn settled(&self, asked: u64) {
        self.shared.answered.fetch_max(asked, Ordering::AcqRel);
        self.shared.answer.notify_one();
    }

    /// Hand over a frame, or with `None` the news that the peer was lost. Return false when it is lost, because
    /// too many wait.
    fn deliver(&self, peer: &str, frame: Option<Buffer>) -> PyResult<bool> {
        self.birth.check()?;
        let incoming = match frame {
            Some(frame) => Incoming::Frame {
                from: peer.into(),
                frame: Bytes::copy_from_slice(&frame),
            },
            None => Incoming::Gone(peer.into()),
        };
        Ok(self.incoming.try_send(incoming).is_ok())
    }

    /// Stop answering: the node waits for nothing more.
    fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Release);
        self.shared.answer.notify_one();
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if self.birth.check().is_ok() {
            self.close();
        }
    }
}

impl Transport for BridgeTransport {
    fn frame_max(&self) -> usize {
        self.frame_max
    }

    async fn send(&mut self, transmit: CoreTransmit) {
        let mut outgoing = self.shared.outgoing.lock();
        if outgoing.len() < WAITING_MAX {
            outgoing.push_back(transmit);
        }
        drop(outgoing);
        self.shared.waker.wake_by_ref();
    }

    async fn subscribe(&mut self, change: GroupSubscription) {
        let (partition, is_wanted) = match change {
            GroupSubscription::Subscribe(partition) => (partition, true),
            GroupSubscription::Unsubscribe(partition) => (partition, false),
        };
        self.shared.groups.lock().insert(partition, is_wanted);
        self.shared.waker.wake_by_ref();
    }

    async fn receive(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    async fn settle(&mut self) {
        let asked = self.shared.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.shared.waker.wake_by_ref();
        while self.shared.answered.load(Ordering::Acquire) < asked
            && !self.shared.is_closed.load(Ordering::Acquire)
        {
            self.shared.answer.notified().await;
        }
    }
}
