//! floor.cf, in the working directory, which is the queue directory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::Outcome;

const FILE: &str = "floor.cf";

/// What is to be done. Each parameter has the name that it has in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `greet_wait_ms`
    pub greet_wait: Duration,
    /// `dnsbl`, with commas between
    pub zones: Vec<String>,
    pub name_server: Option<SocketAddr>,
    /// Clients that are let in at once.
    pub known: Option<Network>,
    pub log_socket: PathBuf,
    pub smtpd_socket: PathBuf,
    /// `early`: who talks before the greeting, instead of waiting. `everybody`: after the wait.
    pub turn_away: Option<TurnAway>,
    /// How many may wait.
    pub max_clients: usize,
}

/// Whom the floor turns away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TurnAway {
    /// Who talks before the greeting.
    Early,
    /// Who has waited, and is told to come again.
    Everybody,
}

impl TurnAway {
    /// By its name in floor.cf.
    pub fn named(name: &str) -> Option<TurnAway> {
        match name {
            "early" => Some(TurnAway::Early),
            "everybody" => Some(TurnAway::Everybody),
            _ => None,
        }
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    bits: u32,
    mask: u32,
}

impl Config {
    /// Reads the file.
    pub fn read() -> Outcome<Config> {
        let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        Config::parse(&text).map_err(|error| format!("{FILE}: {error}").into())
    }

    /// Reads the text of the file.
    pub fn parse(text: &str) -> Outcome<Config> {
        let mut config = Config {
            greet_wait: Duration::from_secs(6),
            zones: Vec::new(),
            name_server: None,
            known: None,
            log_socket: "/dev/log".into(),
            smtpd_socket: "private/smtpd".into(),
            turn_away: None,
            max_clients: usize::MAX,
        };
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').ok_or_else(|| format!("no value: {line}"))?;
            let value = value.trim();
            match name.trim() {
                "greet_wait_ms" => config.greet_wait = Duration::from_millis(value.parse()?),
                "dnsbl" => {
                    let zones = value.split(',').map(str::trim).filter(|zone| !zone.is_empty());
                    config.zones = zones.map(str::to_owned).collect();
                }
                "name_server" => config.name_server = Some(value.parse()?),
                "known" => config.known = Some(Network::parse(value)?),
                "log_socket" => config.log_socket = value.into(),
                "smtpd_socket" => config.smtpd_socket = value.into(),
                "turn_away" => {
                    let whom = TurnAway::named(value).ok_or_else(|| format!("no such: {value}"))?;
                    config.turn_away = Some(whom);
                }
                "max_clients" => config.max_clients = value.parse()?,
                name => return Err(format!("no such parameter: {name}").into()),
            }
        }
        Ok(config)
    }
}

impl Network {
    /// An address, or one with the length of the network.
    pub fn parse(text: &str) -> Outcome<Network> {
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        let length: u32 = length.parse()?;
        if length > 32 {
            return Err(format!("{text} is no network").into());
        }
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        Ok(Network { bits: u32::from(address.parse::<Ipv4Addr>()?) & mask, mask })
    }

    /// Whether an address is one of them.
    pub fn contains(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => u32::from(address) & self.mask == self.bits,
            IpAddr::V6(_) => false,
        }
    }
}
