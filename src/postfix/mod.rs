//! Postfix's file formats and channels.

pub mod attr;
pub mod maillog;
pub mod main_cf;
pub mod master;
pub mod message;
pub mod params;
pub mod pass;
pub mod table;
