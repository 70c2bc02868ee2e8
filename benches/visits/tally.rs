//! What all visits have come to.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::visit::{End, Result};

/// Times of a kind, in microseconds.
#[derive(Default, Debug)]
pub struct Times(Vec<u64>);

impl Times {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        self.0.push(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// The time that a share of them does not exceed, by the nearest rank; they are sorted.
    fn quantile(&self, thousandths: usize) -> Option<u64> {
        let rank = (self.0.len() * thousandths).div_ceil(1000);
        self.0.get(rank.saturating_sub(1)).copied()
    }

    /// As a member of a JSON object, in milliseconds; nothing without times.
    pub fn write(&mut self, name: &str, json: &mut String) {
        self.0.sort_unstable();
        let named = [("min", 0), ("p50", 500), ("p90", 900), ("p99", 990), ("max", 1000)];
        let member = |(name, share)| {
            let time = self.quantile(share)?;
            Some(format!("\"{name}\":{}.{:03}", time / 1000, time % 1000))
        };
        let members: Vec<String> = named.into_iter().filter_map(member).collect();
        if !members.is_empty() {
            // A String takes everything.
            let _ = write!(json, ",\"{name}\":{{{}}}", members.join(","));
        }
    }
}

/// Counts and times.
#[derive(Default, Debug)]
pub struct Tally {
    pub begun: u64,
    /// Visits that were meant to be early, and were late: they tell nothing.
    pub late: u64,
    pub first_byte: Times,
    pub banner: Times,
    pub visit: Times,
    finished: u64,
    replies: BTreeMap<u16, u64>,
    refused: u64,
    reset: u64,
    closed: u64,
    timeout: u64,
}

impl Tally {
    /// One more visit is over.
    pub fn add(&mut self, result: Result) {
        match result {
            Result::Finished(code) => {
                self.finished += 1;
                *self.replies.entry(code).or_default() += 1;
            }
            Result::Lost(End::Refused) => self.refused += 1,
            Result::Lost(End::Reset) => self.reset += 1,
            Result::Lost(End::Closed | End::Released | End::Left) => self.closed += 1,
            Result::Lost(End::Timeout) => self.timeout += 1,
        }
    }

    /// The result line. `seconds` is what all took, `cpu` what it cost this process.
    pub fn json(&mut self, kind: &str, seconds: Duration, cpu: Duration) -> String {
        let replies: Vec<String> =
            self.replies.iter().map(|(code, count)| format!("\"{code}\":{count}")).collect();
        let mut json = format!(
            "{{\"kind\":\"{kind}\",\"begun\":{},\"finished\":{},\"seconds\":{:.6},\
             \"cpu_seconds\":{:.6},\"replies\":{{{}}},\"lost\":{{\"refused\":{},\"reset\":{},\
             \"closed\":{},\"timeout\":{}}},\"late\":{}",
            self.begun,
            self.finished,
            seconds.as_secs_f64(),
            cpu.as_secs_f64(),
            replies.join(","),
            self.refused,
            self.reset,
            self.closed,
            self.timeout,
            self.late,
        );
        self.first_byte.write("first_byte_ms", &mut json);
        self.banner.write("banner_ms", &mut json);
        self.visit.write("visit_ms", &mut json);
        json.push('}');
        json
    }
}
