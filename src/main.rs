//! The program: see `man/gatepost.8`.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use gatepost::postfix::master::{Environment, OptionError, Options};
use gatepost::supervisor;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let mut argv: Vec<OsString> = std::env::args_os().collect();
    match argv.get(1).and_then(|word| word.to_str()) {
        Some("--version") => {
            println!("gatepost {VERSION}");
            return ExitCode::SUCCESS;
        }
        Some("--help" | "help") => {
            print!("{}", introduction());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if let Some(signal) = take_fault(&mut argv) {
        supervisor::run_after_fault(&signal, argv);
    }
    let terminal = std::io::stdin().is_terminal();
    let options = Options::parse(argv);
    let by_hand = match &options {
        Ok(options) => options.refuse_by_hand(terminal).is_err(),
        Err(_) => terminal,
    };
    if by_hand {
        eprintln!("postscreen: fatal: {}", OptionError::ByHand);
        eprint!("\n{}", introduction());
        return ExitCode::FAILURE;
    }
    supervisor::run(options, Environment::read())
}

/// The signal by which this program has ended, if it has and was executed anew by itself.
fn take_fault(argv: &mut Vec<OsString>) -> Option<String> {
    argv.get(1).filter(|word| *word == supervisor::AFTER_FAULT)?;
    let told: Vec<OsString> = argv.drain(1..argv.len().min(3)).collect();
    told.last().map(|signal| signal.to_string_lossy().into_owned())
}

/// What whoever finds this program and starts it wants to know.
fn introduction() -> String {
    format!(
        "This is gatepost {VERSION}, a replacement for Postfix's postscreen(8): it keeps\n\
         zombies away from an SMTP server and hands the other clients to smtpd(8).\n\
         \n\
         Postfix's master(8) starts it. To install it, copy this file into Postfix's\n\
         daemon directory (`postconf -h daemon_directory`), or run `make install` in\n\
         its source, and name it in master.cf:\n\
         \n\
         \x20   postconf -M smtp/inet=\"smtp inet n - y - 1 gatepost\"\n\
         \x20   postconf -M smtpd/pass=\"smtpd pass - - y - - smtpd\"\n\
         \x20   postfix reload\n\
         \n\
         To switch back, write postscreen instead of gatepost. More: man 8 gatepost.\n"
    )
}
