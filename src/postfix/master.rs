//! What master(8) gives a service: options, environment and descriptors; and the status
//! records it wants back.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Read and write end of the mail flow pipe, which a front door has no use for.
pub const FLOW_FDS: [RawFd; 2] = [3, 4];

/// The status channel: status records go out; end of file, or any error, means reload or stop.
pub const STATUS_FD: RawFd = 5;

/// The first listening socket; [`Options::sockets`] tells how many there are.
pub const LISTEN_FD: RawFd = 6;

/// How clients reach the service (the type column of master.cf).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// A TCP port.
    Inet,
    /// A UNIX socket.
    Unix,
    /// A UNIX socket over which another program hands us its clients.
    Pass,
}

/// The command line that master makes of a master.cf line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// `-n`: the name in master.cf (`smtp`, `127.0.0.1:25`); without it, the name of the program.
    pub service: String,
    /// `-t`: how clients reach the service.
    pub transport: Transport,
    /// `-s`: number of listening sockets, from [`LISTEN_FD`] upward; 1 or more.
    pub sockets: u16,
    /// `-l`: the process limit is 1.
    pub alone: bool,
    /// `-z`: there is no process limit.
    pub unlimited: bool,
    /// `-u`: give up root for mail_owner.
    pub unprivileged: bool,
    /// `-c`: enter the jail of queue_directory.
    pub chroot: bool,
    /// `-d`: a terminal on standard input is all right.
    pub debug: bool,
    /// `-D`: run debugger_command.
    pub debugger: bool,
    /// `-v`: how often it was given.
    pub verbose: u8,
    /// `-V`: log to standard error too.
    pub stderr: bool,
    /// `name=value` texts that override main.cf, as given and in order: those of `-o`, and
    /// `-i` and `-m` as `max_idle` and `max_use`.
    pub overrides: Vec<String>,
}

/// A command line that ends the process; the text is that of the `fatal:` line.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum OptionError {
    /// An unknown option, or one without its argument.
    #[error("invalid option: {0}")]
    Invalid(char),
    /// `-s` with anything but a number from 1 to 65535.
    #[error("invalid socket_count: {0}")]
    SocketCount(String),
    /// `-r` with anything but a number from 1.
    #[error("invalid retirement time: {0}")]
    Retirement(String),
    /// `-t` with a transport that brings no connections.
    #[error("unsupported transport type: {0}")]
    Transport(String),
    /// No `-t`.
    #[error("no transport type specified")]
    NoTransport,
    /// `-S`.
    #[error("option -S: serving one session on standard input is not supported")]
    StandAlone,
    /// Bytes that are not UTF-8 where a text belongs.
    #[error("option -{0}: value is not valid UTF-8: {1}")]
    NotUtf8(char, String),
    /// Started from a terminal.
    #[error("do not run this command by hand")]
    ByHand,
}

impl Options {
    /// Parses a command line, program name included. Words from the first one that is no
    /// option on are ignored, as every Postfix daemon ignores them.
    ///
    /// # Errors
    /// See [`OptionError`]. The first offending option counts.
    pub fn parse(
        argv: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Options, OptionError> {
        let mut words = argv.into_iter().map(Into::into);
        let program = words.next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default();
        let mut options = Options {
            service: program.to_string_lossy().into_owned(),
            transport: Transport::Inet,
            sockets: 1,
            alone: false,
            unlimited: false,
            unprivileged: false,
            chroot: false,
            debug: false,
            debugger: false,
            verbose: 0,
            stderr: false,
            overrides: Vec::new(),
        };
        let mut transport = None;
        let mut letters = Letters::new(words);
        while let Some(letter) = letters.next() {
            match letter {
                b'c' => options.chroot = true,
                b'd' => options.debug = true,
                b'D' => options.debugger = true,
                b'i' => options.overrides.push(format!("max_idle={}", letters.argument('i')?)),
                b'l' => options.alone = true,
                b'm' => options.overrides.push(format!("max_use={}", letters.argument('m')?)),
                b'n' => options.service = letters.argument('n')?,
                b'o' => options.overrides.push(letters.argument('o')?),
                // Only services that master retires look at it; a wrong one is fatal for all.
                b'r' => match letters.argument('r')? {
                    value if leading_number(&value).is_some_and(|seconds| seconds > 0) => {}
                    value => return Err(OptionError::Retirement(value)),
                },
                b's' => {
                    let value = letters.argument('s')?;
                    let count = value.parse().ok().filter(|&count| count > 0);
                    options.sockets = count.ok_or(OptionError::SocketCount(value))?;
                }
                b'S' => return Err(OptionError::StandAlone),
                b't' => transport = Some(letters.argument('t')?),
                b'u' => options.unprivileged = true,
                b'v' => options.verbose = options.verbose.saturating_add(1),
                b'V' => options.stderr = true,
                b'z' => options.unlimited = true,
                other => return Err(OptionError::Invalid(char::from(other))),
            }
        }
        let transport = transport.ok_or(OptionError::NoTransport)?;
        options.transport = match transport.as_str() {
            "inet" => Transport::Inet,
            "unix" => Transport::Unix,
            "pass" => Transport::Pass,
            _ => return Err(OptionError::Transport(transport)),
        };
        Ok(options)
    }

    /// Refuses to run by hand, which can only fail: the descriptors would be missing.
    ///
    /// # Errors
    /// Standard input is a terminal and there is no `-d`.
    pub fn refuse_by_hand(&self, stdin_is_terminal: bool) -> Result<(), OptionError> {
        if stdin_is_terminal && !self.debug { Err(OptionError::ByHand) } else { Ok(()) }
    }

    /// The numbers of the listening sockets.
    pub fn listeners(&self) -> impl Iterator<Item = RawFd> + use<> {
        (LISTEN_FD..).take(usize::from(self.sockets))
    }
}

/// The number that a text begins with, as atoi(3) sees it: whatever follows is ignored.
fn leading_number(text: &str) -> Option<u32> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// Option letters one by one, by the rules of getopt(3): `-vv` is `-v -v`, `-s2` is `-s 2`,
/// and `--` or the first other word ends them.
struct Letters<I> {
    words: I,
    /// What is left of the current word.
    cluster: Vec<u8>,
    /// The end was seen.
    done: bool,
}

impl<I: Iterator<Item = OsString>> Letters<I> {
    fn new(words: I) -> Letters<I> {
        Letters { words, cluster: Vec::new(), done: false }
    }

    fn next(&mut self) -> Option<u8> {
        if self.cluster.is_empty() && !self.done {
            match self.words.next().map(OsString::into_vec).as_deref() {
                None | Some(b"--" | b"-") => self.done = true,
                Some([b'-', letters @ ..]) => self.cluster = letters.to_vec(),
                Some(_) => self.done = true,
            }
        }
        if self.cluster.is_empty() { None } else { Some(self.cluster.remove(0)) }
    }

    /// The argument of `option`: the rest of its word, or else the next word.
    fn argument(&mut self, option: char) -> Result<String, OptionError> {
        let bytes = if self.cluster.is_empty() {
            self.words.next().map(OsString::into_vec).ok_or(OptionError::Invalid(option))?
        } else {
            std::mem::take(&mut self.cluster)
        };
        String::from_utf8(bytes).map_err(|error| {
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            OptionError::NotUtf8(option, text)
        })
    }
}

/// What master puts into the environment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Environment {
    /// `GENERATION` (octal): the number that status records have to carry; 0 without one.
    pub generation: u32,
    /// `MAIL_CONFIG`: the configuration directory, if it is not the compiled-in one.
    pub config_directory: Option<PathBuf>,
    /// `MAIL_LOGTAG`: master's syslog_name, for log lines from before main.cf is read.
    pub log_tag: Option<String>,
    /// `MAIL_VERBOSE`: as if `-v` had been given.
    pub verbose: bool,
    /// `MAIL_DEBUG`: as if `-D` had been given.
    pub debugger: bool,
}

/// A `GENERATION` that is not an octal number of 32 bits; the text is that of the `fatal:` line.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("bad generation: {0}")]
pub struct BadGeneration(
    /// The value.
    pub String,
);

impl Environment {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// See [`BadGeneration`].
    pub fn read() -> Result<Environment, BadGeneration> {
        Environment::from_lookup(|name| std::env::var_os(name))
    }

    /// Where main.cf is.
    pub fn config_directory(&self) -> PathBuf {
        self.config_directory.clone().unwrap_or_else(|| "/etc/postfix".into())
    }

    /// Reads an environment, given as a function from names to values.
    ///
    /// # Errors
    /// See [`BadGeneration`].
    pub fn from_lookup(
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Environment, BadGeneration> {
        let generation = match lookup("GENERATION") {
            None => 0,
            Some(text) => octal(text.as_bytes())
                .ok_or_else(|| BadGeneration(text.to_string_lossy().into_owned()))?,
        };
        Ok(Environment {
            generation,
            config_directory: lookup("MAIL_CONFIG").map(PathBuf::from),
            log_tag: lookup("MAIL_LOGTAG").map(|tag| tag.to_string_lossy().into_owned()),
            verbose: lookup("MAIL_VERBOSE").is_some(),
            debugger: lookup("MAIL_DEBUG").is_some(),
        })
    }
}

fn octal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |sum, digit| {
        let digit = matches!(digit, b'0'..=b'7').then(|| u32::from(digit - b'0'))?;
        sum.checked_mul(8)?.checked_add(digit)
    })
}

/// What a status record says about a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Availability {
    /// It serves a client.
    Taken,
    /// It can take (another) client.
    Available,
}

/// The record to write to [`STATUS_FD`]. `pid` is that of the process master started and
/// `generation` what it got in the environment; master ignores records with other numbers.
///
/// Taken and then available should be sent once, before the first client is served: as long
/// as master has counted no use of a process, it takes any exit with an error for a failed
/// start and starts no other for a minute.
pub fn status_record(pid: i32, generation: u32, availability: Availability) -> [u8; 12] {
    let availability: i32 = match availability {
        Availability::Taken => 0,
        Availability::Available => 1,
    };
    let mut record = [0; 12];
    let numbers = [pid.to_ne_bytes(), generation.to_ne_bytes(), availability.to_ne_bytes()];
    for (field, number) in record.chunks_exact_mut(4).zip(numbers) {
        field.copy_from_slice(&number);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, OptionError> {
        Options::parse(line.split_whitespace())
    }

    fn failure(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    #[test]
    fn command_lines_seen_under_master() {
        let options = parse("gatepost -l -n 25 -t inet -u -s 2 -o foo=bar extra").unwrap();
        assert_eq!(
            options,
            Options {
                service: "25".into(),
                transport: Transport::Inet,
                sockets: 2,
                alone: true,
                unlimited: false,
                unprivileged: true,
                chroot: false,
                debug: false,
                debugger: false,
                verbose: 0,
                stderr: false,
                overrides: vec!["foo=bar".into()],
            }
        );
        assert_eq!(options.listeners().collect::<Vec<_>>(), [6, 7]);

        let options = parse("gatepost -n 0.0.0.0:25 -t inet -u -c -o stress=").unwrap();
        assert_eq!(options.service, "0.0.0.0:25");
        assert!(options.chroot && options.unprivileged && !options.alone);
        assert_eq!(options.overrides, ["stress="]);
        assert_eq!(options.listeners().collect::<Vec<_>>(), [6]);

        let options = parse("smtpd -t pass -u -o stress=").unwrap();
        assert_eq!((options.service.as_str(), options.transport), ("smtpd", Transport::Pass));

        let options = parse("x -z -t unix -v").unwrap();
        assert_eq!((options.transport, options.verbose), (Transport::Unix, 1));
        assert!(options.unlimited);
    }

    #[test]
    fn service_name_defaults_to_the_program_name() {
        let options = parse("../../../local/libexec/gatepost -t inet").unwrap();
        assert_eq!(options.service, "gatepost");
    }

    #[test]
    fn values_may_contain_blanks() {
        let words = ["x", "-t", "inet", "-o", "smtpd_banner = x y"];
        assert_eq!(Options::parse(words).unwrap().overrides, ["smtpd_banner = x y"]);
    }

    #[test]
    fn clusters_and_attached_values() {
        let options = parse("x -lvvdDVs3 -tinet -oa=-b -i 5s -m7 -r10s").unwrap();
        assert!(options.alone && options.debug && options.debugger && options.stderr);
        assert_eq!((options.verbose, options.sockets), (2, 3));
        assert_eq!(options.overrides, ["a=-b", "max_idle=5s", "max_use=7"]);
    }

    #[test]
    fn words_after_the_options_are_ignored() {
        for line in ["x -t inet extra -Q", "x -t inet -- -Q", "x -t inet - -Q"] {
            assert!(parse(line).is_ok(), "{line}");
        }
        assert_eq!(failure("x foo -t inet"), "no transport type specified");
    }

    #[test]
    fn fatal_texts() {
        for (line, text) in [
            ("x -Q", "invalid option: Q"),
            ("x -lQ -t inet", "invalid option: Q"),
            ("x -n", "invalid option: n"),
            ("x -s 0", "invalid socket_count: 0"),
            ("x -s -1", "invalid socket_count: -1"),
            ("x -s two", "invalid socket_count: two"),
            ("x -r 0", "invalid retirement time: 0"),
            ("x", "no transport type specified"),
            ("x -t fifo", "unsupported transport type: fifo"),
            ("x -t bogus", "unsupported transport type: bogus"),
        ] {
            assert_eq!(failure(line), text, "{line}");
        }
        assert_eq!(parse("x -S"), Err(OptionError::StandAlone));
        let words = [OsString::from("x"), OsString::from_vec(b"-oa=\xff".to_vec())];
        assert!(matches!(Options::parse(words), Err(OptionError::NotUtf8('o', _))));
    }

    #[test]
    fn a_terminal_needs_the_debug_option() {
        let by_hand = parse("x -t inet").unwrap();
        assert_eq!(by_hand.refuse_by_hand(true), Err(OptionError::ByHand));
        assert_eq!(by_hand.refuse_by_hand(false), Ok(()));
        assert_eq!(parse("x -d -t inet").unwrap().refuse_by_hand(true), Ok(()));
    }

    #[test]
    fn generation_is_octal() {
        let environment = |generation: &'static str| {
            Environment::from_lookup(move |name| match name {
                "GENERATION" => Some(generation.into()),
                "MAIL_CONFIG" => Some("/etc/postfix".into()),
                "MAIL_LOGTAG" => Some("postfix-in".into()),
                _ => None,
            })
        };
        let seen = environment("14").unwrap();
        assert_eq!(seen.generation, 12);
        assert_eq!(seen.config_directory.as_deref(), Some(Path::new("/etc/postfix")));
        assert_eq!(seen.log_tag.as_deref(), Some("postfix-in"));
        assert!(!seen.verbose && !seen.debugger);
        for bad in ["", "8", "x", "-1", "40000000000"] {
            assert_eq!(environment(bad), Err(BadGeneration(bad.into())));
        }
        assert_eq!(Environment::from_lookup(|_| None), Ok(Environment::default()));
    }

    #[test]
    fn status_records_seen_under_master() {
        let taken = status_record(17669, 4, Availability::Taken);
        let available = status_record(17669, 4, Availability::Available);
        if cfg!(target_endian = "little") {
            assert_eq!(taken, [0x05, 0x45, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(available, [0x05, 0x45, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0]);
        }
        assert_ne!(taken, available);
    }
}
