//! Landlock: no file can be opened, made, renamed, removed or executed, no TCP port listened at,
//! and only those connected to that there is a use for.

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, NetPort, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// The newest version of which all is refused. Later ones handle what a worker needs, sockets
/// with a path and UDP.
const NEWEST: ABI = ABI::V7;

/// Restricts this thread and those that it starts, as far as the kernel knows how. Returns the
/// version of what is in force.
///
/// # Errors
/// Why nothing is.
pub fn restrict(tcp_ports: &[u16]) -> Result<i32, String> {
    let status = apply(tcp_ports).map_err(|error| error.to_string())?;
    match (status.ruleset, status.landlock) {
        (_, LandlockStatus::NotEnabled) => Err("not enabled in this kernel".into()),
        (_, LandlockStatus::NotImplemented) => Err("not in this kernel".into()),
        (RulesetStatus::NotEnforced, _) => Err("not enforced".into()),
        (_, LandlockStatus::Available { effective_abi, .. }) => {
            Ok(effective_abi.min(NEWEST) as i32)
        }
    }
}

fn apply(tcp_ports: &[u16]) -> Result<RestrictionStatus, RulesetError> {
    let ports = tcp_ports.iter().map(|port| Ok(NetPort::new(*port, AccessNet::ConnectTcp)));
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules::<_, _, _, RulesetError>(ports)?
        .restrict_self()
}
