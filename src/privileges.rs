//! Who we are, who we become, and what is left for us to do then.

pub mod sandbox;

use std::ffi::CString;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{
    Gid, Pid, Uid, User, chdir, chroot, getgroups, initgroups, setegid, seteuid, setgid, setgroups,
    setuid,
};
use thiserror::Error;

use crate::sys::errno_text;

/// The account that owns Postfix's queue and data (main.cf: `mail_owner`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Its name.
    pub name: CString,
    /// Its user id.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
}

/// A step that failed; the text is that of the `fatal:` line.
#[derive(Debug, Error)]
#[error("{step}: {reason}")]
pub struct Denied {
    step: String,
    reason: &'static str,
}

fn denied(step: impl Into<String>) -> impl FnOnce(nix::Error) -> Denied {
    move |errno| Denied { step: step.into(), reason: errno_text(errno) }
}

impl Owner {
    /// Looks the account up. `None` when there is none of this name.
    ///
    /// # Errors
    /// The user database cannot be read.
    pub fn find(name: &str) -> io::Result<Option<Owner>> {
        let Ok(c_name) = CString::new(name) else { return Ok(None) };
        let user = User::from_name(name)?;
        Ok(user.map(|user| Owner { name: c_name, uid: user.uid, gid: user.gid }))
    }

    /// Does something as this account, and becomes root again. Without root, just does it.
    ///
    /// # Errors
    /// A change of identity was refused; then this process should not go on.
    pub fn act<T>(&self, act: impl FnOnce() -> T) -> Result<T, Denied> {
        if !Uid::effective().is_root() {
            return Ok(act());
        }
        let groups = getgroups().map_err(denied("getgroups"))?;
        setegid(self.gid).map_err(denied("setegid"))?;
        setgroups(&[self.gid]).map_err(denied("setgroups"))?;
        seteuid(self.uid).map_err(denied("seteuid"))?;
        let result = act();
        seteuid(Uid::from_raw(0)).map_err(denied("seteuid"))?;
        setgroups(&groups).map_err(denied("setgroups"))?;
        setegid(Gid::from_raw(0)).map_err(denied("setegid"))?;
        Ok(result)
    }

    /// Signals a process that may be this account's. Root may have no right to do so: a unit can
    /// have it go without most of its capabilities.
    ///
    /// # Errors
    /// As [`Owner::act`]; not if the process has gone.
    pub fn signal(&self, process: Pid, signal: Signal) -> Result<(), Denied> {
        if kill(process, signal) == Err(Errno::EPERM) {
            self.act(|| {
                // It may have ended by itself at this very moment.
                let _ = kill(process, signal);
            })?;
        }
        Ok(())
    }

    /// Becomes this account for good, in a jail if one is given: groups first, while there is
    /// still the right to change them, and the user last.
    ///
    /// # Errors
    /// A step was refused; then this process must not go on.
    pub fn become_for_good(&self, jail: Option<&Path>) -> Result<(), Denied> {
        setgid(self.gid).map_err(denied("setgid"))?;
        initgroups(&self.name, self.gid).map_err(denied("initgroups"))?;
        if let Some(directory) = jail {
            enter_jail(directory)?;
        }
        setuid(self.uid).map_err(denied("setuid"))
    }
}

/// Enters a jail as whoever we are.
///
/// # Errors
/// chroot(2) or chdir(2) was refused.
pub fn enter_jail(directory: &Path) -> Result<(), Denied> {
    chroot(directory).map_err(denied(format!("chroot({})", directory.display())))?;
    chdir("/").map_err(denied("chdir(/)"))
}
