//! Postfix's file formats and channels.

pub mod attr;
pub mod main_cf;
pub mod maillog;
pub mod message;
pub mod params;
pub mod table;
