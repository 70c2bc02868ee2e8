//! The command line.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Outcome;
use super::clients::Sources;
use super::visit::Kind;

/// What this process does.
#[derive(Clone, PartialEq, Debug)]
pub enum Role {
    /// Is the clients.
    Load(Load),
    /// Stands in for smtpd(8), at this socket.
    Smtpd { socket: PathBuf },
    /// Stands in for syslogd(8), at this socket. Records may be kept in a file.
    Log { socket: PathBuf, keep: Option<PathBuf> },
    /// `cargo test --benches` starts every bench to see whether it runs.
    Nothing,
}

/// When the next visit begins.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// As soon as there are fewer than this under way.
    InFlight(usize),
    /// This many each second, whatever becomes of them.
    PerSecond(f64),
}

/// Which clients come, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct Load {
    pub kind: Kind,
    pub server: SocketAddrV4,
    pub sources: Sources,
    /// How many visits there are.
    pub count: u64,
    pub pace: Pace,
    /// main.cf: postscreen_greet_wait.
    pub greet_wait: Duration,
    /// How long to hold; without it, until a line or the end comes from standard input.
    pub hold: Option<Duration>,
    /// For how long visits are begun.
    pub seconds: Option<Duration>,
}

const USAGE: &str = "\
usage: visits load known|new|pregreet|engine|early|hold|slow|drip|reset
           --server ADDR:PORT --sources NET [--first N] [--spread N] [--stride N] [--count N]
           (--in-flight N | --rate PER_SECOND) [--greet-wait SECONDS] [--hold SECONDS]
           [--seconds S]
       visits smtpd --socket PATH
       visits log --socket PATH [--keep FILE]";

impl Role {
    /// Reads the command line, without the program's name.
    pub fn parse(words: impl Iterator<Item = String>) -> Outcome<Role> {
        // cargo adds it.
        let mut words = words.filter(|word| word != "--bench");
        match words.next().as_deref() {
            None => Ok(Role::Nothing),
            Some("load") => {
                let kind = words.next().ok_or(USAGE)?;
                let kind = Kind::named(&kind).ok_or_else(|| format!("{kind}? {USAGE}"))?;
                Ok(Role::Load(Load::parse(kind, words)?))
            }
            Some("smtpd") => {
                let (socket, keep) = socket_and_keep(words)?;
                if keep.is_some() { Err(USAGE.into()) } else { Ok(Role::Smtpd { socket }) }
            }
            Some("log") => {
                let (socket, keep) = socket_and_keep(words)?;
                Ok(Role::Log { socket, keep })
            }
            Some(word) => Err(format!("{word}? {USAGE}").into()),
        }
    }
}

fn socket_and_keep(mut words: impl Iterator<Item = String>) -> Outcome<(PathBuf, Option<PathBuf>)> {
    let (mut socket, mut keep) = (None, None);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--socket" => socket = Some(value.into()),
            "--keep" => keep = Some(value.into()),
            _ => return Err(format!("{word}? {USAGE}").into()),
        }
    }
    Ok((socket.ok_or("--socket is missing")?, keep))
}

impl Load {
    fn parse(kind: Kind, mut words: impl Iterator<Item = String>) -> Outcome<Load> {
        let (mut server, mut network) = (None, None);
        let (mut first, mut spread, mut stride) = (0, None, 1);
        let (mut count, mut pace) = (None, None);
        let (mut greet_wait, mut hold, mut seconds) = (Duration::ZERO, None, None);
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--server" => server = Some(value.parse()?),
                "--sources" => network = Some(value),
                "--first" => first = value.parse()?,
                "--spread" => spread = Some(positive::<u64>(&value)?),
                "--stride" => stride = positive::<u64>(&value)?,
                "--count" => count = Some(positive::<u64>(&value)?),
                "--in-flight" => pace = Some(Pace::InFlight(positive(&value)?)),
                "--rate" => pace = Some(Pace::PerSecond(positive(&value)?)),
                "--greet-wait" => greet_wait = duration(&value)?,
                "--hold" => hold = Some(duration(&value)?),
                "--seconds" => seconds = Some(duration(&value)?),
                _ => return Err(format!("{word}? {USAGE}").into()),
            }
        }
        let pace = pace.ok_or("--in-flight or --rate is missing")?;
        let count = match (count, pace, seconds) {
            (Some(count), _, _) => count,
            (None, Pace::PerSecond(rate), Some(seconds)) => whole(rate * seconds.as_secs_f64()),
            _ => return Err("--count is missing".into()),
        };
        if kind == Kind::Early && greet_wait.is_zero() {
            return Err("who is to be early needs --greet-wait".into());
        }
        let network = network.ok_or("--sources is missing")?;
        Ok(Load {
            kind,
            server: server.ok_or("--server is missing")?,
            sources: sources(&network, first, spread.unwrap_or(count))?.in_strides(stride),
            count,
            pace,
            greet_wait,
            hold,
            seconds,
        })
    }
}

fn sources(network: &str, first: u64, spread: u64) -> Outcome<Sources> {
    let (base, length) = network.split_once('/').unwrap_or((network, "32"));
    let base = Ipv4Addr::from_str(base)?;
    let length = u32::from_str(length)?;
    if length > 32 {
        return Err(format!("{network} is no network").into());
    }
    Sources::new(base, 1 << (32 - length), first, spread)
        .ok_or_else(|| format!("{network} has no {spread} addresses from number {first}").into())
}

fn positive<T: FromStr + PartialOrd + Default>(word: &str) -> Outcome<T> {
    match word.parse() {
        Ok(number) if number > T::default() => Ok(number),
        _ => Err(format!("{word}: need a number above 0").into()),
    }
}

fn duration(word: &str) -> Outcome<Duration> {
    let seconds = word.parse().map_err(|_| format!("{word}: need a number of seconds"))?;
    Ok(Duration::try_from_secs_f64(seconds)?)
}

/// The next whole number; `as` rounds towards zero and keeps to the range.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: f64) -> u64 {
    number.ceil() as u64
}
