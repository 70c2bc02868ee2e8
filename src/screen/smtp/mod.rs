//! The built-in SMTP engine: bytes become lines, lines become commands.

pub mod engine;
pub mod line;
