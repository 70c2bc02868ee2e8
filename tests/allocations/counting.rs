//! The allocator of the service under test: the system's, and it counts.
//!
//! It counts for the main thread only, which in a worker is the loop's; the storage thread may
//! allocate. The count is in a file that is mapped into memory, where the test can read it.

// An allocator cannot be written without, nor memory shared with another process.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use nix::libc;

/// See the module.
pub struct Counting;

static COUNT: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());

thread_local! {
    /// Whether this is the main thread, once that is known.
    static IS_MAIN: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Counts in this file from now on, as do the processes that fork from this one.
pub fn count_in(path: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    // SAFETY: a new mapping, at an address that the kernel chooses. It is never taken away.
    let address = unsafe {
        libc::mmap(
            null_mut(),
            size_of::<AtomicU64>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(address, libc::MAP_FAILED);
    COUNT.store(address.cast(), Ordering::Release);
}

fn count() {
    let count = COUNT.load(Ordering::Acquire);
    if count.is_null() {
        return;
    }
    let is_main = IS_MAIN.get().unwrap_or_else(|| {
        // SAFETY: these calls have no effect.
        let is_main = unsafe { libc::gettid() == libc::getpid() };
        IS_MAIN.set(Some(is_main));
        is_main
    });
    if is_main {
        // SAFETY: it points to mapped memory that holds a number, and page-aligned.
        unsafe { &*count }.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(place, layout, size) }
    }
}
