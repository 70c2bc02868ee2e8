//! Where clients come from: an address of their own for each, and sockets bound to it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use mio::net::TcpStream;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};

/// A run of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sources {
    first: u32,
    spread: u64,
    stride: u64,
}

impl Sources {
    /// `spread` addresses from number `first` on, out of `size` that begin at `base`. `None` if
    /// there are not so many.
    pub fn new(base: Ipv4Addr, size: u64, first: u64, spread: u64) -> Option<Sources> {
        if first.checked_add(spread)? > size || spread == 0 {
            return None;
        }
        let first = u64::from(u32::from(base)).checked_add(first)?;
        // The last one must be an address, too.
        u32::try_from(first + spread - 1).ok()?;
        Some(Sources { first: u32::try_from(first).ok()?, spread, stride: 1 })
    }

    /// The same, but the next client's address is so many further on, round and round. Where
    /// that has no divisor in common with their number, they all have their turn.
    #[must_use]
    pub fn in_strides(self, stride: u64) -> Sources {
        Sources { stride: stride % self.spread, ..self }
    }

    /// The address of a client, by its number.
    pub fn address(self, number: u64) -> Ipv4Addr {
        let offset = number.wrapping_mul(self.stride) % self.spread;
        let offset = u32::try_from(offset).unwrap_or(0);
        Ipv4Addr::from(self.first.saturating_add(offset))
    }
}

/// Closes a connection by a reset, as if the client had died.
pub fn reset(stream: TcpStream) {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    // If that fails, the connection is closed in the usual way.
    let _ = setsockopt(&stream, sockopt::Linger, &at_once);
}

/// A socket that is about to connect.
pub struct Client(OwnedFd);

impl Client {
    /// Of a client at this address.
    pub fn new(source: Ipv4Addr) -> Result<Client, Errno> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let client = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        // The port is chosen by connect(2) then, so that it has to be free for this server only.
        setsockopt(&client, sockopt::IpBindAddressNoPort, &true)?;
        bind(client.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))?;
        Ok(Client(client))
    }

    /// Takes as little at a time as the kernel allows.
    pub fn have_little_room(&self) -> Result<(), Errno> {
        setsockopt(&self.0, sockopt::RcvBuf, &1)
    }

    /// Connects, without waiting for that.
    pub fn connect(self, server: SocketAddrV4) -> Result<TcpStream, Errno> {
        match connect(self.0.as_raw_fd(), &SockaddrIn::from(server)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {
                Ok(TcpStream::from_std(std::net::TcpStream::from(self.0)))
            }
            Err(errno) => Err(errno),
        }
    }
}
