//! Questions to a name server, and its answers, which are counted and forgotten.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

use crate::Outcome;

/// Identification, then: recursion is desired, and there is one question.
pub const HEADER: [u8; 12] = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];

/// Type A, class IN.
pub const TYPE_AND_CLASS: [u8; 4] = [0, 1, 0, 1];

/// How many answers are taken with one call.
const BATCH: usize = 16;

/// A way to ask.
pub struct Questions {
    socket: UdpSocket,
    /// One question for each zone, of which only the identification and the address change.
    /// Names are of no fixed length: the address comes in between the two parts.
    zones: Vec<Vec<u8>>,
    messages: Vec<Vec<u8>>,
    headers: MultiHeaders<SockaddrIn>,
    answers: Box<[[u8; 512]; BATCH]>,
    answer_headers: MultiHeaders<SockaddrIn>,
    identification: u16,
}

impl Questions {
    /// To this server, about these zones.
    pub fn new(server: SocketAddr, zones: &[String]) -> Outcome<Questions> {
        let socket = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0)))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let zones = zones.iter().map(|zone| name(zone)).collect::<Outcome<Vec<_>>>()?;
        Ok(Questions {
            socket,
            messages: vec![Vec::with_capacity(300); zones.len()],
            headers: MultiHeaders::preallocate(zones.len(), None),
            zones,
            answers: Box::new([[0; 512]; BATCH]),
            answer_headers: MultiHeaders::preallocate(BATCH, None),
            identification: 0,
        })
    }

    /// What becomes readable when there are answers.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Asks all zones about a client.
    pub fn ask(&mut self, client: IpAddr) {
        let IpAddr::V4(client) = client else { return };
        let mut address = Vec::with_capacity(16);
        for octet in client.octets().into_iter().rev() {
            label(&mut address, octet);
        }
        for (message, zone) in self.messages.iter_mut().zip(&self.zones) {
            self.identification = self.identification.wrapping_add(1);
            message.clear();
            message.extend(HEADER);
            if let Some(place) = message.first_chunk_mut() {
                *place = self.identification.to_be_bytes();
            }
            message.extend_from_slice(&address);
            message.extend_from_slice(zone);
            message.extend(TYPE_AND_CLASS);
        }
        let slices: Vec<_> = self.messages.iter().map(|message| [IoSlice::new(message)]).collect();
        let addresses = vec![None; slices.len()];
        // What cannot be sent is not answered, and nobody waits for that.
        let flags = MsgFlags::empty();
        let _ = sendmmsg(self.socket.as_raw_fd(), &mut self.headers, &slices, addresses, [], flags);
    }

    /// Takes some of the answers that there are.
    pub fn take_answers(&mut self) -> Outcome<()> {
        let mut slices: Vec<_> =
            self.answers.iter_mut().map(|answer| [IoSliceMut::new(answer)]).collect();
        let socket = self.socket.as_raw_fd();
        let headers = &mut self.answer_headers;
        match recvmmsg(socket, headers, &mut slices, MsgFlags::MSG_DONTWAIT, None) {
            // Nobody listened to an earlier question.
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A name in the form of RFC 1035 3.1.
pub fn name(text: &str) -> Outcome<Vec<u8>> {
    let mut name = Vec::new();
    for label in text.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length));
        name.push(length.ok_or_else(|| format!("{text} is no domain"))?);
        name.extend(label.as_bytes());
    }
    name.push(0);
    Ok(name)
}

/// A number as a label.
pub fn label(name: &mut Vec<u8>, number: u8) {
    let digit = |value: u8| b'0' + value % 10;
    match number {
        100.. => name.extend([3, digit(number / 100), digit(number / 10), digit(number)]),
        10.. => name.extend([2, digit(number / 10), digit(number)]),
        _ => name.extend([1, digit(number)]),
    }
}
