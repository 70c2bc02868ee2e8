//! Who may say whom it speaks for, and of whom the log tells.

use crate::screen::policy::UpstreamProxy;

/// Whether the PROXY protocol is spoken at one of our addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoken {
    /// It is.
    Yes,
    /// It is not: clients connect themselves.
    No,
    /// The list cannot tell.
    Unknown,
}

/// What is known about a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// There is no list: everybody is believed, as with Postfix.
    Anybody,
    /// It is on the list.
    Listed,
    /// It is not, or the list cannot tell.
    Stranger,
}

/// How a connection begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Approach {
    /// With the client itself.
    Direct,
    /// With the header of a proxy.
    Proxy {
        /// The proxy is on a list of trusted ones.
        listed: bool,
    },
    /// Not at all.
    Stranger,
}

/// How a connection begins. Where it cannot be told whether the protocol is spoken, only a
/// proxy on the list is believed: a stranger is neither a client whose address is known, nor
/// somebody who may choose one.
pub fn approach(spoken: Spoken, trust: Trust) -> Approach {
    match (spoken, trust) {
        (Spoken::No, _) => Approach::Direct,
        (Spoken::Yes | Spoken::Unknown, Trust::Listed) => Approach::Proxy { listed: true },
        (Spoken::Yes, Trust::Anybody) => Approach::Proxy { listed: false },
        (Spoken::Yes | Spoken::Unknown, Trust::Stranger) | (Spoken::Unknown, Trust::Anybody) => {
            Approach::Stranger
        }
    }
}

/// Whether UNKNOWN is taken for the proxy itself. From somebody who need not be a proxy it
/// would be a way around all that depends on addresses.
pub fn unknown_is_local(listed: bool) -> bool {
    listed
}

/// Whether the log tells of a connection in which a proxy speaks for itself, or not at all.
pub fn is_logged(rules: &UpstreamProxy, listed: bool) -> bool {
    rules.log_checks || !listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_chooses_an_address_where_trouble_is() {
        for trust in [Trust::Anybody, Trust::Listed, Trust::Stranger] {
            assert_eq!(approach(Spoken::No, trust), Approach::Direct);
            let listed = trust == Trust::Listed;
            let unknown = approach(Spoken::Unknown, trust);
            assert_eq!(unknown == Approach::Proxy { listed: true }, listed);
            assert_eq!(unknown == Approach::Stranger, !listed);
        }
        assert_eq!(approach(Spoken::Yes, Trust::Anybody), Approach::Proxy { listed: false });
        assert_eq!(approach(Spoken::Yes, Trust::Listed), Approach::Proxy { listed: true });
        assert_eq!(approach(Spoken::Yes, Trust::Stranger), Approach::Stranger);
    }
}
