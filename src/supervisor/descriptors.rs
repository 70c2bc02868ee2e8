//! The descriptors that master(8) gives a service.

use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::start_error::StartError;
use crate::postfix::master::{FLOW_FDS, Options, STATUS_FD};
use crate::sys;

/// What master opened for us. It stays open here with the numbers it has, for postscreen(8) may
/// have to take our place; workers have no more of it than the listeners.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// The mail flow pipe. We have no use for it, but postscreen(8) does not start without.
    flow: Vec<OwnedFd>,
    /// The status channel; `None` in a worker.
    pub status: Option<OwnedFd>,
    /// Where clients come from.
    pub listeners: Vec<OwnedFd>,
}

impl Descriptors {
    /// Takes them over, before anything else is opened.
    ///
    /// # Errors
    /// One is missing.
    pub fn adopt(&mut self, options: &Options) -> Result<(), StartError> {
        let adopt = |number| sys::adopt(number).ok_or(StartError::NotInherited(number));
        self.flow = FLOW_FDS.into_iter().filter_map(sys::adopt).collect();
        self.status = Some(adopt(STATUS_FD)?);
        self.listeners = options.listeners().map(adopt).collect::<Result<_, _>>()?;
        self.keep_from_helpers();
        Ok(())
    }

    /// The programs that we run for a moment have no use for them; one that hangs would keep
    /// the port open when master(8) closes it.
    fn keep_from_helpers(&self) {
        for descriptor in self.flow.iter().chain(&self.status).chain(&self.listeners) {
            // It is open, which is all that it takes.
            let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
    }
}
