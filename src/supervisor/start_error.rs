//! Why a service cannot start, and whether postscreen(8) could.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use nix::sys::wait::WaitStatus;
use thiserror::Error;

use crate::postfix::master::{BadGeneration, OptionError};
use crate::privileges::Denied;
use crate::sys::errno_text;

/// The text is that of the `fatal:` line, in Postfix's words where it has them.
#[derive(Debug, Error)]
pub enum StartError {
    /// The words of the command line.
    #[error(transparent)]
    CommandLine(#[from] OptionError),
    /// What master(8) says in the environment.
    #[error(transparent)]
    Environment(#[from] BadGeneration),
    /// The type in master.cf brings no TCP clients.
    #[error("service {0}: the service type in master.cf must be inet")]
    ServiceType(String),
    /// A descriptor that master(8) has promised.
    #[error("descriptor {0} is not open: not started by master(8)")]
    NotInherited(RawFd),
    /// main.cf, or what it names: accounts, directories, networks.
    #[error("{0}")]
    Configuration(String),
    /// A list or table that has to be there.
    #[error("{0}")]
    Tables(String),
    /// A table that has to be there, and the program that reads it for us cannot be run.
    #[error("{0}")]
    TableReader(String),
    /// An identity that cannot be changed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A system call that every Postfix daemon makes.
    #[error("{0}: {text}", text = errno_text(*.1))]
    Common(&'static str, nix::Error),
    /// A system call that only we make.
    #[error("{0}: {text}", text = errno_text(*.1))]
    System(&'static str, nix::Error),
    /// The same, where the library does not say the number.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
    /// A worker, which has said why.
    #[error("a worker {} before it was ready", how(*.0))]
    WorkerEnded(WaitStatus),
    /// A worker that has closed its channel and yet lives.
    #[error("a worker gave up before it was ready")]
    WorkerSilent,
    /// A worker that says nothing.
    #[error("a worker was not ready after {} s", .0.as_secs())]
    WorkerLate(Duration),
}

/// Who would meet this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// postscreen(8) would not start either, or not get beyond its first client.
    Shared,
    /// We alone, or so it may be: then postscreen(8) finds out.
    Ours,
}

impl StartError {
    /// Whether it is of use to let postscreen(8) try.
    pub fn scope(&self) -> Scope {
        match self {
            StartError::CommandLine(error) => match error {
                // To postscreen(8) these are bytes like others.
                OptionError::NotUtf8(..) => Scope::Ours,
                OptionError::Invalid(_)
                | OptionError::SocketCount(_)
                | OptionError::Retirement(_)
                | OptionError::Transport(_)
                | OptionError::NoTransport
                | OptionError::StandAlone
                | OptionError::ByHand => Scope::Shared,
            },
            StartError::Environment(_)
            | StartError::NotInherited(_)
            | StartError::Configuration(_)
            | StartError::Tables(_)
            | StartError::Denied(_)
            | StartError::Common(..) => Scope::Shared,
            StartError::ServiceType(_)
            | StartError::TableReader(_)
            | StartError::System(..)
            | StartError::Io(..)
            | StartError::WorkerEnded(_)
            | StartError::WorkerSilent
            | StartError::WorkerLate(_) => Scope::Ours,
        }
    }
}

fn how(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("ended with status {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("was killed by {signal}"),
        _ => "ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use nix::sys::signal::Signal;
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn what_postscreen_would_share() {
        use Scope::{Ours, Shared};
        let pid = Pid::from_raw(7);
        let option = StartError::CommandLine;
        for (error, scope, text) in [
            (option(OptionError::Invalid('x')), Shared, "invalid option: x"),
            (option(OptionError::SocketCount("0".into())), Shared, "invalid socket_count: 0"),
            (option(OptionError::Retirement("0".into())), Shared, "invalid retirement time: 0"),
            (option(OptionError::Transport("x".into())), Shared, "unsupported transport type: x"),
            (option(OptionError::NoTransport), Shared, "no transport type specified"),
            (option(OptionError::ByHand), Shared, "do not run this command by hand"),
            (
                option(OptionError::StandAlone),
                Shared,
                "option -S: serving one session on standard input is not supported",
            ),
            (
                option(OptionError::NotUtf8('o', "x".into())),
                Ours,
                "option -o: value is not valid UTF-8: x",
            ),
            (BadGeneration("9".into()).into(), Shared, "bad generation: 9"),
            (
                StartError::ServiceType("smtp".into()),
                Ours,
                "service smtp: the service type in master.cf must be inet",
            ),
            (
                StartError::NotInherited(6),
                Shared,
                "descriptor 6 is not open: not started by master(8)",
            ),
            (StartError::Configuration("bad".into()), Shared, "bad"),
            (StartError::Tables("open x".into()), Shared, "open x"),
            (StartError::TableReader("cannot run x".into()), Ours, "cannot run x"),
            (StartError::Common("socket", Errno::EMFILE), Shared, "socket: Too many open files"),
            (
                StartError::System("fork", Errno::EAGAIN),
                Ours,
                "fork: Resource temporarily unavailable",
            ),
            (
                StartError::Io("socketpair", io::ErrorKind::OutOfMemory.into()),
                Ours,
                "socketpair: out of memory",
            ),
            (
                StartError::WorkerEnded(WaitStatus::Exited(pid, 1)),
                Ours,
                "a worker ended with status 1 before it was ready",
            ),
            (
                StartError::WorkerEnded(WaitStatus::Signaled(pid, Signal::SIGABRT, false)),
                Ours,
                "a worker was killed by SIGABRT before it was ready",
            ),
            (StartError::WorkerSilent, Ours, "a worker gave up before it was ready"),
            (
                StartError::WorkerLate(Duration::from_secs(30)),
                Ours,
                "a worker was not ready after 30 s",
            ),
        ] {
            assert_eq!((error.scope(), error.to_string().as_str()), (scope, text));
        }
    }
}
