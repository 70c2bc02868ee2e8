//! Capabilities: a worker has none, and cannot get any.

use caps::{CapSet, Capability};

/// Takes capabilities out of the bounding set, which limits what an executed program may get. For
/// as long as there is the right to; a service manager may have given us none.
///
/// # Errors
/// Why it does not work.
pub fn leave_bounds() -> Result<(), String> {
    let may = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP);
    if may.map_err(|error| error.to_string())? {
        caps::clear(None, CapSet::Bounding).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Gives up all capabilities.
///
/// # Errors
/// Why it does not work.
pub fn give_up() -> Result<(), String> {
    // An old kernel has no such set.
    if caps::runtime::ambient_set_supported().is_ok() {
        caps::clear(None, CapSet::Ambient).map_err(|error| error.to_string())?;
    }
    // With those that are permitted go those that are effective.
    for set in [CapSet::Inheritable, CapSet::Permitted] {
        caps::clear(None, set).map_err(|error| error.to_string())?;
    }
    Ok(())
}
