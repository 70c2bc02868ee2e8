//! The built-in SMTP engine: bytes become lines, lines become commands, commands get
//! replies.

pub mod address;
pub mod command;
pub mod discard;
pub mod engine;
pub mod forbidden;
pub mod keyword;
pub mod line;
pub mod offence;
