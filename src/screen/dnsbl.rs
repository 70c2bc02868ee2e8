//! DNS blocklists: who is asked, and what the answers come to.

pub mod answer;
pub mod lists;
mod name;
pub mod score;
pub mod site;
