//! How much memory a piece of code takes: an allocator that counts, for each thread on its own.
//!
//! It serves the whole test binary, so that a decoder can be held to what it was given. This is the one place of the
//! workspace with unsafe code; it hands every call on to the system's allocator unchanged.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending allocates uncounted.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator with the arguments it came with; counting touches two plain
// thread-local numbers and allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `f` returns, and the most bytes that it held at any moment beyond what was held before, on this thread.
pub fn peak_of<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let result = f();
    (result, usize::try_from(PEAK.with(Cell::get) - before).expect("the peak is at least where it began"))
}

#[test]
fn the_peak_counts_what_is_freed_again() {
    let (len, peak) = peak_of(|| vec![1u8; 5000].len() + vec![1u8; 3000].len());
    assert_eq!(len, 8000);
    assert!((5000..9000).contains(&peak), "{peak}");
    assert_eq!(peak_of(|| 1 + 1).1, 0);
}
