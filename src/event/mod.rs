//! The mechanics of the loop: readiness, deadlines, and sockets.

pub mod conn;
pub mod reactor;
pub mod stream;
pub mod timers;
