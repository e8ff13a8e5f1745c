//! A global allocator that counts, so that a property can bound what one call allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, with the live bytes of each thread counted.
#[derive(Debug)]
pub struct Meter;

#[global_allocator]
static METER: Meter = Meter;

/// Runs `f` and returns, with its result, the most bytes it had allocated at one time on this
/// thread, beyond what was allocated before.
pub fn peak_of<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = f();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

fn add(bytes: usize) {
    LIVE.set(LIVE.get().wrapping_add_unsigned(bytes));
    PEAK.set(PEAK.get().max(LIVE.get()));
}

fn sub(bytes: usize) {
    LIVE.set(LIVE.get().wrapping_sub_unsigned(bytes));
}

#[expect(
    unsafe_code,
    reason = "the trait is unsafe; every call goes to the system's allocator as it is"
)]
// SAFETY: each method passes its arguments on unchanged, so System's contract is ours; the counters
// are const-initialised cells without destructors, so touching them allocates nothing.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        sub(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        sub(layout.size());
        add(new_size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_counts_what_was_live_at_once() {
        let (_, peak) = peak_of(|| {
            drop(vec![1u8; 3_000]);
            vec![1u8; 1_000]
        });
        assert_eq!(peak, 3_000);
    }
}
