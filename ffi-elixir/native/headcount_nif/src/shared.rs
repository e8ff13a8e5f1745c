//! Structures that many processes share.
//!
//! A NIF on a normal scheduler waits for a lock for a moment only; then it answers `:busy` and Elixir calls its twin
//! on a dirty scheduler, where waiting does no harm. Long jobs take the lock again and again, a slice at a time.

use parking_lot::RwLock;
use rustler::{Encoder, Env, Term};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::atoms;

/// The time that a normal scheduler waits for a lock: longer than a slice of large work holds it, as a
/// dirty scheduler may be busy for longer.
const MOMENT: Duration = Duration::from_micros(300);

/// The time that a call may wait for a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// On a normal scheduler.
    Moment,
    /// On a dirty scheduler.
    Endless,
}

/// Calls what may have to wait for a lock: `attempt` again and again for a moment, or `wait` for as long as it takes.
/// Returns `None` when the moment was not enough.
pub(crate) fn patiently<R>(
    patience: Patience,
    attempt: impl Fn() -> Option<R>,
    wait: impl FnOnce() -> R,
) -> Option<R> {
    if let Patience::Endless = patience {
        return Some(wait());
    }
    if let Some(result) = attempt() {
        return Some(result);
    }
    let end = Instant::now() + MOMENT;
    while Instant::now() < end {
        (0..32).for_each(|_| std::hint::spin_loop());
        if let Some(result) = attempt() {
            return Some(result);
        }
    }
    None
}

/// A lock whose content is dropped on a thread of its own: freeing millions of nodes takes longer than a scheduler
/// may be held.
#[derive(Debug)]
pub(crate) struct Shared<T: Send + 'static> {
    content: RwLock<Content<T>>,
}

#[derive(Debug)]
struct Content<T> {
    /// `None` only after the drop has taken it.
    value: Option<T>,
    /// True if a write panicked.
    broken: bool,
}

/// A panic marks the content as broken, so no call uses it half changed.
impl<T: Send + 'static> UnwindSafe for Shared<T> {}
impl<T: Send + 'static> RefUnwindSafe for Shared<T> {}

impl<T: Send + 'static> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            content: RwLock::new(Content {
                value: Some(value),
                broken: false,
            }),
        }
    }

    /// Returns `None` when the lock was not free in time.
    pub(crate) fn read<R>(&self, patience: Patience, f: impl FnOnce(&T) -> R) -> Option<R> {
        let content = match patience {
            Patience::Moment => self.content.try_read_for(MOMENT)?,
            Patience::Endless => self.content.read(),
        };
        assert!(
            !content.broken,
            "an earlier panic left this structure half changed"
        );
        content.value.as_ref().map(f)
    }

    /// Returns `None` when the lock was not free in time.
    pub(crate) fn write<R>(&self, patience: Patience, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut content = match patience {
            Patience::Moment => self.content.try_write_for(MOMENT)?,
            Patience::Endless => self.content.write(),
        };
        assert!(
            !content.broken,
            "an earlier panic left this structure half changed"
        );
        content.broken = true;
        let result = content.value.as_mut().map(f);
        content.broken = false;
        result
    }
}

impl<T: Send + 'static> Drop for Shared<T> {
    fn drop(&mut self) {
        if let Some(content) = self.content.get_mut().value.take() {
            discard(Box::new(content));
        }
    }
}

/// A value that locks for itself and, as [`Shared`], is dropped on a thread of its own.
pub(crate) struct Discarded<T: Send + 'static>(Option<Box<T>>);

impl<T: Send + 'static> Discarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(Box::new(value)))
    }
}

impl<T: Send + 'static> std::ops::Deref for Discarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is taken by the drop only")
    }
}

impl<T: Send + 'static> Drop for Discarded<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            discard(value);
        }
    }
}

/// Returns the answer, or `:busy`.
pub(crate) fn answer<'a>(env: Env<'a>, result: Option<impl Encoder>) -> Term<'a> {
    result.map_or_else(|| atoms::busy().encode(env), |result| result.encode(env))
}

/// Defines a NIF and its twin on a dirty scheduler, named `*_dirty`; `$patience` is the time that the body may wait.
/// (The caller names `env`, as it cannot name that of the attribute.)
macro_rules! twins {
    (
        $(#[$meta:meta])*
        fn $name:ident / $dirty:literal [$env:ident, $patience:ident] ($($parameters:tt)*) $body:block
    ) => {
        $(#[$meta])*
        #[rustler::nif]
        fn $name<'a>(env: rustler::Env<'a>, $($parameters)*) -> rustler::Term<'a> {
            let $env = env;
            let $patience = $crate::shared::Patience::Moment;
            $body
        }
        const _: () = {
            #[rustler::nif(name = $dirty, schedule = "DirtyCpu")]
            fn dirty<'a>(env: rustler::Env<'a>, $($parameters)*) -> rustler::Term<'a> {
                let $env = env;
                let $patience = $crate::shared::Patience::Endless;
                $body
            }
        };
    };
}
pub(crate) use twins;

/// The queue of the thread that drops contents; `None` without that thread.
type Bin = Option<Mutex<Sender<Box<dyn Send>>>>;

/// Drops a value on another thread.
pub(crate) fn discard(content: Box<dyn Send>) {
    static BIN: LazyLock<Bin> = LazyLock::new(|| {
        let (sender, receiver) = channel::<Box<dyn Send>>();
        let thread = thread::Builder::new().name("headcount-drop".into());
        let spawned = thread.spawn(move || receiver.into_iter().for_each(drop));
        spawned.ok().map(|_| Mutex::new(sender))
    });
    // Without the thread the content is dropped here, as it would be without the bin.
    if let Some(Ok(bin)) = BIN.as_ref().map(Mutex::lock) {
        let _ = bin.send(content);
    }
}
