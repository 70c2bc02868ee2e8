//! Which sandbox workers get, and that the log says so once.

use std::path::Path;

use nix::unistd::getppid;

use super::prepare::log_destination;
use crate::config::settings::Settings;
use crate::daemon::NameServers;
use crate::postfix::screen_tables::ScreenTables;
use crate::postfix::table::Server;
use crate::privileges::sandbox::rehearsal::rehearse;
use crate::privileges::sandbox::{Needs, Role, Sandbox};
use crate::process::note;

/// Where name servers of resolv.conf listen.
const DNS_PORT: u16 = 53;

/// Where is kept what was said of the sandbox, below the queue directory. Only root can write
/// there.
const MEMORY: &str = "pid/gatepost.sandbox";

/// Finds out which layers can be had, and says so.
pub fn choose(
    settings: &Settings,
    role: Role<'_>,
    tables: &ScreenTables,
    name_servers: Option<&NameServers>,
) -> Sandbox {
    let memory = settings.directories.queue.join(MEMORY);
    if !settings.own.sandbox {
        say_once(&memory, &["sandbox: none (gatepost.cf: sandbox = no)".to_owned()]);
        return Sandbox::new(&[], Needs::default());
    }
    let tcp_ports = tcp_ports(tables, name_servers);
    let needs = Needs {
        tcp_ports: &tcp_ports,
        asks_name_servers: name_servers.is_some(),
        looks_at_files: !tables.tables().held_files().is_empty(),
    };
    let (sandbox, lines) = rehearse(role, needs, &log_destination(settings).paths());
    say_once(&memory, &lines);
    sandbox
}

fn tcp_ports(tables: &ScreenTables, name_servers: Option<&NameServers>) -> Vec<u16> {
    let mut ports = match name_servers {
        None => Vec::new(),
        Some(NameServers::System(_)) => vec![DNS_PORT],
        Some(NameServers::Fixed(list)) => list.iter().map(|server| server.port()).collect(),
    };
    for server in tables.tables().servers() {
        if let Server::Inet { addresses, .. } = server {
            ports.extend(addresses.iter().map(|address| address.port()));
        }
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// A process like this one starts at each reload, and after each pause of the clients. The log
/// is told once for each master(8), and when something changes.
fn say_once(memory: &Path, lines: &[String]) {
    let text = format!("master {}\n{}\n", getppid(), lines.join("\n"));
    if note::read(memory).is_some_and(|known| known == text) {
        return;
    }
    for line in lines {
        log::info!("{line}");
    }
    // Then it is said more often.
    if let Err(error) = note::write(memory, &text) {
        log::debug!("{}: {error}", memory.display());
    }
}
