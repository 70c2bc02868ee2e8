//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::Outcome;

/// What this process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Starts the others and prints the table.
    Bench,
    /// Answers questions.
    NameServer,
    /// Looks up, as the daemon does.
    Resolver,
    /// Looks up what is not answered, and looks at its own memory.
    ResolverHolds,
    /// Has dnsblog(8) look up.
    Client,
    /// Has dnsblog(8) look up what is not answered, and waits until it is ended.
    ClientHolds,
    /// `cargo test --benches` starts every bench to see whether it runs.
    Nothing,
}

/// How to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    pub role: Role,
    /// Look-ups in one round.
    pub lookups: u32,
    /// How many of them are asked for and not answered, at any time.
    pub in_flight: u32,
    /// The same for dnsblog(8), which has a process for each.
    pub dnsblog_in_flight: u32,
    /// Rounds that count; one more goes before.
    pub rounds: u32,
    /// How many look-ups that are not answered are under way when memory is looked at.
    pub held: u32,
    /// The same for dnsblog(8).
    pub dnsblog_held: u32,
    /// Where the name server listens; with port 0, wherever it likes.
    pub server: SocketAddr,
    /// Of the running Postfix instance, if there is one.
    pub queue_directory: Option<PathBuf>,
    /// Whether the resolver's process logs what is listed, to that instance's postlogd(8).
    pub log: bool,
}

const USAGE: &str =
    "options: --lookups N --in-flight N --dnsblog-in-flight N --rounds N --held N --dnsblog-held N";

impl Options {
    /// Reads the command line, without the program's name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Options> {
        let mut options = Options {
            role: Role::Nothing,
            lookups: 30_000,
            in_flight: 3000,
            dnsblog_in_flight: 100,
            rounds: 5,
            held: 3000,
            dnsblog_held: 500,
            server: SocketAddr::from(([127, 0, 0, 1], 0)),
            queue_directory: None,
            log: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--bench" => options.role = Role::Bench,
                "--role" => options.role = role(&value()?)?,
                "--lookups" => options.lookups = number(&value()?)?,
                "--in-flight" => options.in_flight = number(&value()?)?,
                "--dnsblog-in-flight" => options.dnsblog_in_flight = number(&value()?)?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--held" => options.held = number(&value()?)?,
                "--dnsblog-held" => options.dnsblog_held = number(&value()?)?,
                "--server" => options.server = SocketAddr::from_str(&value()?)?,
                "--queue-directory" => options.queue_directory = Some(value()?.into()),
                "--log" => options.log = true,
                _ => return Err(format!("{word}? {USAGE}").into()),
            }
        }
        Ok(options)
    }

    /// The command line for a process with another role.
    pub fn command_line(&self, role: Role) -> Vec<String> {
        let mut words: Vec<String> = vec!["--role".into(), word(role).into()];
        let numbers = [
            ("--lookups", self.lookups),
            ("--in-flight", self.in_flight),
            ("--dnsblog-in-flight", self.dnsblog_in_flight),
            ("--held", self.held),
            ("--dnsblog-held", self.dnsblog_held),
        ];
        words
            .extend(numbers.iter().flat_map(|(name, value)| [name.to_string(), value.to_string()]));
        words.extend(["--server".into(), self.server.to_string()]);
        if let Some(directory) = &self.queue_directory {
            words.extend(["--queue-directory".into(), directory.display().to_string()]);
        }
        if self.log {
            words.push("--log".into());
        }
        words
    }
}

const ROLES: [(&str, Role); 5] = [
    ("name-server", Role::NameServer),
    ("resolver", Role::Resolver),
    ("resolver-holds", Role::ResolverHolds),
    ("client", Role::Client),
    ("client-holds", Role::ClientHolds),
];

fn role(word: &str) -> Outcome<Role> {
    let found = ROLES.iter().find(|(name, _)| *name == word);
    found.map(|(_, role)| *role).ok_or_else(|| format!("no such role: {word}").into())
}

fn word(role: Role) -> &'static str {
    ROLES.iter().find(|(_, other)| *other == role).map_or("", |(name, _)| name)
}

fn number(word: &str) -> Outcome<u32> {
    match word.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{word}: need a number above 0").into()),
    }
}
