//! Postfix's file formats and channels.

pub mod access_list;
pub mod address_list;
pub mod attr;
pub mod command_list;
pub mod lists;
pub mod local;
pub mod logical_lines;
pub mod maillog;
pub mod main_cf;
pub mod map_list;
pub mod master;
pub mod match_list;
pub mod message;
pub mod mynetworks;
pub mod params;
pub mod pass;
pub mod proxy_lists;
pub mod remote;
pub mod screen_tables;
pub mod table;
pub mod tlsproxy;
