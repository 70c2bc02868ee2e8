//! Numbers with names: from process to process, from round to round, and as a table.

use std::collections::BTreeMap;
use std::fmt;

/// What one round, or one process in it, has come to.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// One more.
    pub fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }

    /// One of them; without it, not a number.
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Tells them to whoever reads our standard output.
    pub fn tell(&self) {
        for (name, value) in &self.0 {
            println!("{name} {value}");
        }
    }

    /// Reads what another process has told.
    pub fn hear(text: &str) -> Figures {
        let pairs = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Figures(pairs.collect())
    }
}

/// The same figure of several rounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    pub lowest: f64,
    pub median: f64,
    pub highest: f64,
}

impl Spread {
    /// Of these numbers.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Spread {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let at = |index: usize| numbers.get(index).copied().unwrap_or(f64::NAN);
        let last = numbers.len().saturating_sub(1);
        Spread {
            lowest: at(0),
            median: (at(last / 2) + at(last.div_ceil(2))) / 2.0,
            highest: at(last),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.median.is_nan() {
            return f.pad("-");
        }
        // Three digits that count, and thousands in full.
        let digits = match self.median.abs() {
            0.0..10.0 => 2,
            10.0..100.0 => 1,
            _ => 0,
        };
        let Spread { lowest, median, highest } = self;
        f.pad(&format!("{median:.digits$} ({lowest:.digits$}–{highest:.digits$})"))
    }
}
