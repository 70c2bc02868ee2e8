//! Has dnsblog(8) look up, as postscreen(8) does: a connection for each look-up.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gatepost::postfix::attr::{AttrWriter, Scan, scan_strict};
use gatepost::screen::session::SessionId;
use gatepost::screen::slots::Slots;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

use super::Outcome;
use super::figures::Figures;
use super::options::Options;
use super::proc::own_cpu;
use super::workload::{self, LISTS, SILENT};

/// How long it may take until something happens.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait when master(8)'s listen queue is full.
const RETRY: Duration = Duration::from_millis(1);

/// The attributes of a reply, in their order.
const REPLY: [&str; 5] = ["rbl_domain", "client_address", "label", "rbl_addr", "ttl"];

struct Connection {
    stream: UnixStream,
    list: u16,
    reply: Vec<u8>,
}

struct Client {
    poll: Poll,
    events: Events,
    service: PathBuf,
    connections: Slots<Connection>,
}

impl Client {
    fn new(options: &Options) -> Outcome<Client> {
        let queue = options.queue_directory.as_deref().unwrap_or(Path::new("."));
        Ok(Client {
            poll: Poll::new()?,
            events: Events::with_capacity(512),
            service: queue.join("private/dnsblog"),
            connections: Slots::default(),
        })
    }

    /// Asks; `false` if the listen queue is full.
    fn ask(&mut self, number: u32, (address, list): (IpAddr, u16)) -> Outcome<bool> {
        let mut stream = match UnixStream::connect(&self.service) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(format!("{}: {error}", self.service.display()).into()),
        };
        let mut request = AttrWriter::new();
        request.string("rbl_domain", LISTS.get(usize::from(list)).copied().unwrap_or_default())?;
        request.address("client_address", address).long("label", number.into()).end();
        // It fits into the buffer of a fresh socket.
        stream.write_all(&request.into_bytes())?;
        let id = self.connections.insert(Connection { stream, list, reply: Vec::new() });
        let id = id.ok_or("too many connections")?;
        if let Some(connection) = self.connections.get_mut(id) {
            let registry = self.poll.registry();
            registry.register(&mut connection.stream, token(id), Interest::READABLE)?;
        }
        Ok(true)
    }

    /// Takes replies; the number of right ones and of others.
    fn take_replies(&mut self, patience: Duration) -> Outcome<(u32, u32)> {
        let (mut right, mut wrong) = (0, 0);
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let id = session(event.token());
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let is_right = match connection.read()? {
                None => continue,
                Some(is_right) => is_right,
            };
            right += u32::from(is_right);
            wrong += u32::from(!is_right);
            if let Some(mut connection) = self.connections.remove(id) {
                self.poll.registry().deregister(&mut connection.stream)?;
            }
        }
        Ok((right, wrong))
    }
}

impl Connection {
    /// Takes what there is. `None`: the reply is not complete; else whether it is right.
    fn read(&mut self) -> io::Result<Option<bool>> {
        let mut buffer = [0; 512];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(Some(false)),
                Ok(length) => self.reply.extend(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(Some(false));
                }
                Err(error) => return Err(error),
            }
            match scan_strict(&self.reply, REPLY) {
                Ok(Scan::NeedMore) => {}
                Ok(Scan::Complete { values: [.., records, ttl], .. }) => {
                    let expected = match workload::is_listed(self.list) {
                        true => workload::RECORD.to_string(),
                        false => String::new(),
                    };
                    return Ok(Some(records == expected.as_bytes() && ttl == b"3600"));
                }
                Err(_) => return Ok(Some(false)),
            }
        }
    }
}

/// Has everything looked up once, and tells what it took here.
pub fn look_up(options: &Options) -> Outcome<()> {
    let mut client = Client::new(options)?;
    let (cpu, began) = (own_cpu()?, Instant::now());
    let (mut asked, mut answered, mut wrong) = (0, 0, 0);
    while answered < options.lookups {
        let mut full = false;
        while !full && asked < options.lookups && asked - answered < options.dnsblog_in_flight {
            full = !client.ask(asked, workload::look_up(asked))?;
            asked += u32::from(!full);
        }
        let (right, not) = client.take_replies(if full { RETRY } else { PATIENCE })?;
        if right + not == 0 && !full {
            return Err("dnsblog does not answer".into());
        }
        answered += right + not;
        wrong += not;
    }
    let mut figures = Figures::default();
    figures.set("seconds", began.elapsed().as_secs_f64());
    figures.set("cpu", own_cpu()?.saturating_sub(cpu) as f64);
    figures.set("wrong", f64::from(wrong));
    figures.tell();
    Ok(())
}

/// Asks for what is not answered, until this process is ended.
pub fn hold(options: &Options) -> Outcome<()> {
    let mut client = Client::new(options)?;
    let mut asked = 0;
    loop {
        while asked < options.dnsblog_held
            && client.ask(asked, (workload::address(asked), SILENT))?
        {
            asked += 1;
        }
        client.take_replies(if asked < options.dnsblog_held { RETRY } else { PATIENCE })?;
    }
}

fn token(id: SessionId) -> Token {
    Token((id.slot as usize) << 32 | id.generation as usize)
}

fn session(Token(number): Token) -> SessionId {
    let half = |bits: usize| u32::try_from(bits & u32::MAX as usize).unwrap_or(u32::MAX);
    SessionId { slot: half(number >> 32), generation: half(number) }
}
