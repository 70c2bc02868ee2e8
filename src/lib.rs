//! Gatepost: a drop-in replacement for Postfix's postscreen(8).
//!
//! See `ARCHITECTURE.md` for the shape; `screen` is where the decisions are.

pub mod cache;
pub mod config;
pub mod control;
pub mod daemon;
pub mod dns;
pub mod event;
pub mod postfix;
pub mod privileges;
pub mod process;
pub mod screen;
pub mod supervisor;
pub mod sys;
