//! DNS blocklist look-ups: Gatepost's resolver beside Postfix's dnsblog(8).
//!
//! `make bench-dnsbl` is how it is started: `scripts/bench-dnsbl.py` makes a Postfix instance in
//! namespaces of its own and runs this program in there. Without root there is no instance,
//! and only the resolver is measured.
//!
//! The same program plays all parts, each in a process of its own, so that the processor time
//! and the memory of one are not those of another: the `name_server`, the `resolver` as the
//! daemon drives it, and the `client` that asks dnsblog(8) as postscreen(8) does. What is
//! here by the name of `bench` starts them in turn and prints the table.

mod bench;
mod client;
mod figures;
mod name_server;
mod options;
mod postfix;
mod proc;
mod resolver;
mod workload;

use std::error::Error;
use std::process::ExitCode;

use options::{Options, Role};

/// Whatever goes wrong ends the bench.
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dnsbl: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    match options.role {
        Role::Bench => bench::run(&options),
        Role::NameServer => name_server::run(options.server),
        Role::Resolver => resolver::look_up(&options),
        Role::ResolverHolds => resolver::hold(&options),
        Role::Client => client::look_up(&options),
        Role::ClientHolds => client::hold(&options),
        Role::Nothing => {
            println!("dnsbl: nothing is measured without --bench; see make bench-dnsbl");
            Ok(())
        }
    }
}
