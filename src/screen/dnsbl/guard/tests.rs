//! The guard against zones with all kinds of faults, on a virtual clock.

use std::net::IpAddr;
use std::time::Duration;

use super::bench::{Bench, DAY, HOUR, MINUTE, START, Zone};
use super::health::State;
use super::notice::{Effect, Notice, Reach, Why};
use super::saved::{Memory, Saved, Trouble};
use super::*;

mod broken;
mod edges;
mod restart;
mod silence;
mod words;
