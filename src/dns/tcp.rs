//! One question over TCP, for an answer that does not fit into a datagram (RFC 7766).

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::LookupId;

/// A connection for one question.
#[derive(Debug)]
pub(super) struct Tcp {
    /// The connection.
    pub stream: TcpStream,
    /// The number of its server.
    pub server: usize,
    /// Who asks.
    pub lookup: LookupId,
    /// The id of the question.
    pub id: u16,
    /// The question with its length, and how much of that is sent.
    question: Vec<u8>,
    sent: usize,
    /// What has come of the answer, its length included.
    answer: Vec<u8>,
}

/// How far the exchange is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The answer is not complete.
    Pending,
    /// [`Tcp::message`] is.
    Done,
    /// It will never be.
    Failed,
}

impl Tcp {
    /// Begins to connect.
    pub fn open(
        server: usize,
        address: SocketAddr,
        lookup: LookupId,
        id: u16,
        message: &[u8],
    ) -> io::Result<Tcp> {
        let stream = TcpStream::connect(address)?;
        let length = u16::try_from(message.len()).map_err(|_| ErrorKind::InvalidInput)?;
        let mut question = length.to_be_bytes().to_vec();
        question.extend_from_slice(message);
        Ok(Tcp { stream, server, lookup, id, question, sent: 0, answer: Vec::new() })
    }

    /// The socket is ready for something: goes on as far as it can.
    pub fn go_on(&mut self) -> Progress {
        while let Some(rest) = self.question.get(self.sent..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    // Also while the connection is being made.
                    ErrorKind::WouldBlock | ErrorKind::NotConnected => return Progress::Pending,
                    _ => return Progress::Failed,
                },
            }
        }
        let mut buffer = [0; 4096];
        // At most one message: 64 KB.
        while self.missing() > 0 {
            let most = self.missing().min(buffer.len());
            match self.stream.read(buffer.get_mut(..most).unwrap_or_default()) {
                Ok(0) => return Progress::Failed,
                Ok(count) => {
                    self.answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => return Progress::Pending,
                    _ => return Progress::Failed,
                },
            }
        }
        Progress::Done
    }

    /// How many bytes are to come, as far as is known.
    fn missing(&self) -> usize {
        let length = match self.answer.as_slice() {
            [high, low, ..] => 2 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => 2,
        };
        length.saturating_sub(self.answer.len())
    }

    /// The answer.
    pub fn message(&self) -> &[u8] {
        self.answer.get(2..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn exchange() -> (Tcp, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lookup = LookupId { slot: 1, generation: 1 };
        let tcp = Tcp::open(0, address, lookup, 9, b"question").unwrap();
        (tcp, listener.accept().unwrap().0)
    }

    fn until_not_pending(tcp: &mut Tcp) -> Progress {
        for _ in 0..10_000 {
            match tcp.go_on() {
                Progress::Pending => std::thread::sleep(std::time::Duration::from_millis(1)),
                other => return other,
            }
        }
        Progress::Pending
    }

    #[test]
    fn lengths_go_before_messages() {
        let (mut tcp, mut server) = exchange();
        assert_eq!(tcp.go_on(), Progress::Pending);
        let mut question = [0; 10];
        server.read_exact(&mut question).unwrap();
        assert_eq!(&question, b"\0\x08question");
        for byte in b"\0\x06answ" {
            server.write_all(&[*byte]).unwrap();
            assert_eq!(tcp.go_on(), Progress::Pending);
        }
        server.write_all(b"er and more").unwrap();
        assert_eq!(until_not_pending(&mut tcp), Progress::Done);
        assert_eq!(tcp.message(), b"answer");
    }

    #[test]
    fn the_longest_message() {
        let (mut tcp, mut server) = exchange();
        let thread = std::thread::spawn(move || {
            server.write_all(&[0xff, 0xff]).unwrap();
            server.write_all(&[7; 65_535]).unwrap();
            server
        });
        assert_eq!(until_not_pending(&mut tcp), Progress::Done);
        assert_eq!(tcp.message().len(), 65_535);
        thread.join().unwrap();
    }

    #[test]
    fn what_ends_early_has_failed() {
        for part in [&b""[..], b"\0", b"\0\x05abcd"] {
            let (mut tcp, mut server) = exchange();
            server.write_all(part).unwrap();
            drop(server);
            assert_eq!(until_not_pending(&mut tcp), Progress::Failed, "{part:?}");
        }
    }

    #[test]
    fn a_refused_connection_has_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let lookup = LookupId { slot: 1, generation: 1 };
        // It may fail at once or later.
        if let Ok(mut tcp) = Tcp::open(0, address, lookup, 9, b"question") {
            assert_eq!(until_not_pending(&mut tcp), Progress::Failed);
        }
    }
}
