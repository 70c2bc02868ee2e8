//! What is counted.

use crate::ALLOCATOR;

/// The first and the last number of clients of a slope.
pub const FEW: u32 = 3_000;
pub const MANY: u32 = 15_000;

/// What was allocated up to some point.
#[derive(Clone, Copy)]
pub struct Point {
    live: usize,
    calls: usize,
}

impl Point {
    pub fn now() -> Point {
        let stats = ALLOCATOR.stats();
        Point {
            live: stats.bytes_allocated - stats.bytes_deallocated,
            calls: stats.allocations + stats.reallocations,
        }
    }
}

pub fn heading(what: &str) {
    println!("{what:<60} {:>8} {:>8}", "bytes", "calls");
}

/// Prints what `units` of something have come to.
pub fn tell(what: &str, from: Point, to: Point, units: u32) {
    let each = |from: usize, to: usize| (to as f64 - from as f64) / f64::from(units);
    let (bytes, calls) = (each(from.live, to.live), each(from.calls, to.calls));
    println!("  {what:<58} {bytes:>8.0} {calls:>8.2}");
}

/// Prints the slope of what grows from [`FEW`] to [`MANY`]: tables grow by leaps, and what is
/// there for any number does not count.
pub fn slope(what: &str, grow: impl FnMut(u32)) {
    slope_of(1, what, grow);
}

/// The same for something of which each client has so many.
pub fn slope_of(each: u32, what: &str, mut grow: impl FnMut(u32)) {
    grow(FEW);
    let few = Point::now();
    grow(MANY - FEW);
    tell(what, few, Point::now(), (MANY - FEW) * each);
}
