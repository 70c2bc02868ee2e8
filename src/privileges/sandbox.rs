//! What a worker takes from itself before it serves, in layers, each of which is left out where
//! it cannot be had.
//!
//! They are those of a thread, and threads inherit them: so they are set before the second thread
//! starts; and after chroot(2), which they refuse. Which ones can be had is found out by
//! [`rehearsal`], in a process of its own.

mod capabilities;
mod landlock;
pub mod rehearsal;
mod system_calls;

use std::fmt;
use std::path::Path;

use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{Uid, setfsgid, setfsuid};

use super::{Denied, Owner, enter_jail};
use crate::sys::errno_text;

/// A layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layer {
    /// No capabilities, whoever we are.
    Capabilities,
    /// No program that we execute gets more rights than we have.
    NoNewPrivs,
    /// No files, and few ports.
    Landlock,
    /// Few system calls.
    Seccomp,
}

impl Layer {
    /// All, in the order in which they are set: the first needs what the others refuse.
    pub const ALL: [Layer; 4] =
        [Layer::Capabilities, Layer::NoNewPrivs, Layer::Landlock, Layer::Seccomp];
}

/// As the log calls it.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layer::Capabilities => "no capabilities",
            Layer::NoNewPrivs => "no_new_privs",
            Layer::Landlock => "Landlock",
            Layer::Seccomp => "seccomp",
        })
    }
}

/// What depends on the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Needs<'a> {
    /// The TCP ports that are connected to.
    pub tcp_ports: &'a [u16],
    /// Name servers are asked, which takes UDP.
    pub asks_name_servers: bool,
    /// SQLite looks whether there is a journal beside a database that others write to.
    pub looks_at_files: bool,
}

/// Who is to become what.
#[derive(Clone, Copy, Debug)]
pub struct Role<'a> {
    /// main.cf: `mail_owner`.
    pub owner: &'a Owner,
    /// master.cf: `unprivileged`; whether to become that account.
    pub unprivileged: bool,
    /// master.cf: `chroot`; the queue directory.
    pub jail: Option<&'a Path>,
}

impl Role<'_> {
    fn enter(self) -> Result<(), Denied> {
        match (self.unprivileged, self.jail) {
            (true, jail) => self.owner.become_for_good(jail),
            (false, Some(jail)) => enter_jail(jail),
            (false, None) => Ok(()),
        }
    }
}

/// The layers to be set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sandbox {
    layers: Vec<Layer>,
    tcp_ports: Vec<u16>,
    asks_name_servers: bool,
    looks_at_files: bool,
}

/// A layer, and what the log calls it in force, or why it is not.
pub type Outcome = (Layer, Result<String, String>);

impl Sandbox {
    /// These layers.
    pub fn new(layers: &[Layer], needs: Needs<'_>) -> Sandbox {
        Sandbox {
            layers: layers.to_vec(),
            tcp_ports: needs.tcp_ports.to_vec(),
            asks_name_servers: needs.asks_name_servers,
            looks_at_files: needs.looks_at_files,
        }
    }

    /// Takes on a role and sets the layers. What became of each is told; those that failed are
    /// not in force, or not wholly.
    ///
    /// # Errors
    /// The role was refused; then this process must not go on.
    pub fn enter(&self, role: Role<'_>) -> Result<Vec<Outcome>, Denied> {
        let bounds = self.leave_bounds();
        role.enter()?;
        Ok(self.set_all(role, &bounds))
    }

    fn has(&self, layer: Layer) -> bool {
        self.layers.contains(&layer)
    }

    /// Capabilities: what has to come before the role, as it needs one.
    fn leave_bounds(&self) -> Result<(), String> {
        if self.has(Layer::Capabilities) { capabilities::leave_bounds() } else { Ok(()) }
    }

    fn set_all(&self, role: Role<'_>, bounds: &Result<(), String>) -> Vec<Outcome> {
        let layers = self.layers.iter();
        layers.map(|layer| (*layer, self.set(*layer, role, bounds.clone()))).collect()
    }

    /// Sets a layer; `bounds` is what has come of the first step. Returns what the log calls it.
    fn set(
        &self,
        layer: Layer,
        role: Role<'_>,
        bounds: Result<(), String>,
    ) -> Result<String, String> {
        match layer {
            Layer::Capabilities => give_up_capabilities(role).and(bounds),
            Layer::NoNewPrivs => set_no_new_privs().map_err(|errno| errno_text(errno).to_owned()),
            Layer::Landlock => {
                let version = landlock::restrict(&self.tcp_ports)?;
                return Ok(format!("{layer} {version}"));
            }
            Layer::Seccomp => system_calls::refuse_others(self.needs()),
        }?;
        Ok(layer.to_string())
    }

    fn needs(&self) -> Needs<'_> {
        Needs {
            tcp_ports: &self.tcp_ports,
            asks_name_servers: self.asks_name_servers,
            looks_at_files: self.looks_at_files,
        }
    }
}

/// Without capabilities root is nobody to files that are not its own, such as the sockets in
/// `private`. So whoever stays root uses files as the account that it would otherwise be.
fn give_up_capabilities(role: Role<'_>) -> Result<(), String> {
    if Uid::effective().is_root() {
        setfsgid(role.owner.gid);
        setfsuid(role.owner.uid);
    }
    capabilities::give_up()
}

#[cfg(test)]
mod tests;
