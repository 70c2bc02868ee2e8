//! The mechanics of the loop: readiness, deadlines, and client sockets.

pub mod conn;
pub mod reactor;
mod stream;
pub mod timers;
