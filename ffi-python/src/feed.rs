//! `Feed`: what a node has to say about one thing, taken item by item.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use headcount as core;
use headcount::ReadError;
use headcount::replica::Event as CoreEvent;
use headcount::runtime::{Lagged, Refusal, Subscription};
use parking_lot::Mutex;
use pyo3::exceptions::PyEOFError;
use pyo3::prelude::*;
use tokio::sync::mpsc;

use crate::diff::TopicDiff;
use crate::error::LagError;
use crate::event::Event;
use crate::ready::Ready;
use crate::sync::Birth;

/// A reader's end of the news of a node, which never blocks. `poll` takes one item.
#[pyclass(frozen, module = "headcount._headcount")]
pub(crate) struct Feed {
    birth: Birth,
    number: u64,
    waker: Waker,
    /// Not dropped in a child of the process: its locks may be taken there for ever.
    source: Mutex<Option<ManuallyDrop<Source>>>,
}

/// The kinds of news.
pub(crate) enum Source {
    /// The present state of a topic first, then its changes.
    Changes(Option<Arc<core::TopicDiff>>, Subscription),
    Events(Subscription<CoreEvent>),
    Refusals(Subscription<Refusal>),
    /// The troubles of a transport.
    Notes(mpsc::Receiver<String>),
    /// One item, once something is done; none if the node stopped before.
    Done(Pin<Box<dyn Future<Output = Result<(), ReadError>> + Send>>),
}

#[derive(IntoPyObject)]
enum Item {
    Change(TopicDiff),
    Event(Event),
    Refusal((String, String)),
    Note(String),
    Done(bool),
}

impl Feed {
    pub(crate) fn new(ready: &Arc<Ready>, source: Source) -> Self {
        let (number, waker) = ready.waker();
        Self {
            birth: Birth::now(),
            number,
            waker,
            source: Mutex::new(Some(ManuallyDrop::new(source))),
        }
    }

    fn end(&self) {
        if self.birth.check().is_ok() {
            let source = self.source.lock().take();
            drop(source.map(ManuallyDrop::into_inner));
            // A reader that waits for news finds the end.
            self.waker.wake_by_ref();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.end();
    }
}

#[pymethods]
impl Feed {
    /// The number under which the node reports news for this feed.
    #[getter]
    fn number(&self) -> u64 {
        self.number
    }

    /// Return the next item, `None` when there is none yet: the number of the feed is reported once there is.
    ///
    /// Raises `LagError` when items were lost, which ends a feed of changes; `EOFError` at the end.
    fn poll(&self) -> PyResult<Option<Item>> {
        self.birth.check()?;
        let mut source = self.source.lock();
        let polled = match &mut source.as_mut().map(|source| &mut **source) {
            None => return Err(PyEOFError::new_err("the subscription has ended")),
            Some(source) => source.poll(&mut Context::from_waker(&self.waker)),
        };
        // Changes build on those before; events that are lost spoil no others.
        let is_over = matches!(source.as_deref(), Some(Source::Changes(..)));
        drop(source);
        match polled {
            Poll::Pending => Ok(None),
            Poll::Ready(Ok(Some(item))) => Ok(Some(item)),
            Poll::Ready(Ok(None)) => {
                self.end();
                Err(PyEOFError::new_err("the node has stopped"))
            }
            Poll::Ready(Err(Lagged(lost))) if is_over => {
                self.end();
                let text = format!("{lost} changes were not read in time: subscribe again");
                Err(LagError::new_err(text))
            }
            Poll::Ready(Err(Lagged(lost))) => {
                let text = format!("{lost} items were not read in time: the others follow");
                Err(LagError::new_err(text))
            }
        }
    }

    /// End the feed; the node drops what waits for it.
    fn close(&self) {
        self.end();
    }
}

impl Source {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Item>, Lagged>> {
        match self {
            Self::Changes(first, changes) => match first.take() {
                Some(state) => Poll::Ready(Ok(Some(Item::Change(state.into())))),
                None => items(changes, context, |change| Item::Change(change.into())),
            },
            Self::Events(events) => items(events, context, |event| Item::Event(event.into())),
            Self::Refusals(refusals) => items(refusals, context, |refusal| {
                Item::Refusal((refusal.from.to_string(), refusal.error.to_string()))
            }),
            Self::Notes(notes) => notes
                .poll_recv(context)
                .map(|note| Ok(note.map(Item::Note))),
            Self::Done(done) => done
                .as_mut()
                .poll(context)
                .map(|done| Ok((done != Err(ReadError::Stopped)).then_some(Item::Done(true)))),
        }
    }
}

fn items<T>(
    subscription: &mut Subscription<T>,
    context: &Context<'_>,
    item: impl FnOnce(T) -> Item,
) -> Poll<Result<Option<Item>, Lagged>> {
    subscription
        .poll_next(context)
        .map(|next| next.map(|next| next.map(item)))
}
