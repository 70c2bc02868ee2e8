//! One message for the log, before it is known where the log goes.
//!
//! The types are the core's, which has messages of its own.

pub use crate::screen::logline::{Level, Message};
