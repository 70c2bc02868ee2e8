//! DNS blocklists: who is asked, and what the answers come to.

pub mod answer;
pub mod board;
pub mod guard;
pub mod lists;
pub mod name;
pub mod score;
pub mod site;
pub mod trouble;
