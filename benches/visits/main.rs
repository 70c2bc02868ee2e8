//! Visits of SMTP clients at a screening daemon, and what stands around it while they are
//! measured.
//!
//! `make bench` is how it is started: `scripts/bench.py` makes Postfix instances in namespaces of
//! their own, and runs this program there. It plays all parts, each in a process of its own, so
//! that the processor time of one is not that of another: `load` is the clients, `smtpd` and
//! `log` stand in for smtpd(8) and the log service, and `floor` is the least that a screening
//! daemon can be.

mod clients;
mod floor;
mod load;
mod log;
mod options;
mod reply;
mod smtpd;
mod tally;
mod visit;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use gatepost::screen::session::SessionId;
use mio::Token;
use nix::sys::resource::{Resource, getrlimit};

use options::Role;

/// Whatever goes wrong ends the process.
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let mut argv = std::env::args_os();
    let name = argv.next().unwrap_or_default();
    // master(8) starts it by that name.
    if Path::new(&name).file_name().is_some_and(|name| name == "floor") {
        return match floor::run(std::env::args_os()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                floor::complain(&*error);
                ExitCode::FAILURE
            }
        };
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("visits: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    match Role::parse(std::env::args().skip(1))? {
        Role::Load(options) => load::run(&options),
        Role::Smtpd { socket } => smtpd::run(&socket),
        Role::Log { socket, keep } => log::run(&socket, keep.as_deref()),
        Role::Nothing => {
            println!("visits: nothing is measured without a role; see make bench");
            Ok(())
        }
    }
}

/// As many descriptors as we may have. Returns how many that are.
fn raise_descriptor_limit() -> Outcome<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(gatepost::process::raise_descriptor_limit(hard)?)?)
}

fn token(id: SessionId) -> Token {
    Token((id.slot as usize) << 32 | id.generation as usize)
}

fn id_of(Token(number): Token) -> SessionId {
    let half = |bits: usize| u32::try_from(bits & u32::MAX as usize).unwrap_or(u32::MAX);
    SessionId { slot: half(number >> 32), generation: half(number) }
}
