//! A name server that does as little as it can: one thread, one socket, no memory.
//!
//! The first letter of the list decides, which is the fifth label of the name: `l` has an A
//! record, `s` gets no answer, and all others do not exist. But nobody lists 127.0.0.1, as that
//! is how a list shows that it does not list everybody (RFC 5782).

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::workload::RECORD;
use super::{Outcome, proc};

/// Bytes of questions that wait, the kernel's expenses included.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// A message of this length asks for the counters; a question is longer.
const COUNTERS: &[u8] = b"?";

/// How the question about 127.0.0.1 begins.
const NEVER_LISTED: &[u8] = b"\x011\x010\x010\x03127";

/// Bytes before the question (RFC 1035 4.1.1).
const HEADER: usize = 12;

/// Type, class, time to live (an hour), and the length of the data.
const A: [u8; 10] = [0, 1, 0, 1, 0, 0, 14, 16, 0, 4];

/// The same for SOA; its data are two names of 4 bytes, of which a pointer to the list's name
/// is the second half, and five numbers.
const SOA: [u8; 10] = [0, 6, 0, 1, 0, 0, 14, 16, 0, 28];

/// OPT with room for 1232 bytes (RFC 6891).
const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];

/// What a name server has done so far.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counters {
    /// Questions.
    pub questions: u64,
    /// Processor time, microseconds.
    pub cpu: u64,
}

/// Serves for ever. The address goes to standard output.
pub fn run(address: SocketAddr) -> Outcome<()> {
    let socket = UdpSocket::bind(address)?;
    // So that a burst of questions is not lost for want of room. Only root may have so much.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    println!("{}", socket.local_addr()?);
    std::io::stdout().flush()?;
    let mut questions: u64 = 0;
    let (mut message, mut reply) = ([0; 512], Vec::with_capacity(512));
    loop {
        let (length, peer) = match socket.recv_from(&mut message) {
            Ok(received) => received,
            // What became of an older answer.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error.into()),
        };
        let message = message.get(..length).unwrap_or_default();
        reply.clear();
        if message == COUNTERS {
            reply.extend(questions.to_be_bytes());
            reply.extend(proc::own_cpu()?.to_be_bytes());
        } else {
            questions += 1;
            // Something that is no question gets no answer.
            let _ = answer(message, &mut reply);
        }
        if !reply.is_empty() {
            let _ = socket.send_to(&reply, peer);
        }
    }
}

/// Asks a name server for its counters.
pub fn counters(server: SocketAddr) -> Outcome<Counters> {
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(server)?;
    socket.send(COUNTERS)?;
    let mut reply = [0; 16];
    socket.recv(&mut reply)?;
    let number = |at: usize| {
        let bytes = reply.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_be_bytes)
    };
    Ok(Counters { questions: number(0), cpu: number(8) })
}

/// Puts the answer to a question into `reply`, which is empty. `None`, and perhaps a piece of
/// an answer: it was none.
fn answer(question: &[u8], reply: &mut Vec<u8>) -> Option<()> {
    let mut at = HEADER;
    for _ in 0..4 {
        at += 1 + usize::from(*question.get(at)?);
    }
    let list = at;
    while *question.get(at)? != 0 {
        at += 1 + usize::from(*question.get(at)?);
    }
    // The root's length, type and class.
    let name_and_type = question.get(HEADER..at + 5)?;
    let with_edns = question.get(HEADER - 1)? & 1;
    let listed = match *question.get(list + 1)? {
        b's' => return None,
        letter => letter == b'l' && !name_and_type.starts_with(NEVER_LISTED),
    };
    reply.extend(question.get(..2)?);
    // A response, recursion desired and available; NOERROR or NXDOMAIN.
    reply.extend(if listed { [0x81, 0x80] } else { [0x81, 0x83] });
    reply.extend([0, 1, 0, u8::from(listed), 0, u8::from(!listed), 0, with_edns]);
    reply.extend(name_and_type);
    let pointer = |at: usize| Some([0xc0, u8::try_from(at).ok()?]);
    if listed {
        reply.extend(pointer(HEADER)?);
        reply.extend(A);
        reply.extend(RECORD.octets());
    } else {
        reply.extend(pointer(list)?);
        reply.extend(SOA);
        for host in [b"\x01n", b"\x01h"] {
            reply.extend(host);
            reply.extend(pointer(list)?);
        }
        for number in [1u32, 3600, 600, 86_400, 3600] {
            reply.extend(number.to_be_bytes());
        }
    }
    if with_edns == 1 {
        reply.extend(OPT);
    }
    Some(())
}
