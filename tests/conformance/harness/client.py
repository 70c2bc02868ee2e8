"""The SMTP client script interpreter.

A ScriptedClient runs the steps of one [client] section in a thread of its own
and writes down what happened as events. It judges nothing: whether an event is
right is decided later, by comparing it with the same event of the other run.

Every step is a method step_VERB(argument).
"""

import contextlib
import os
import re
import shlex
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from dataclasses import dataclass

from . import dnsstub, escapes, instance, maillog
from .scenario import Client, Step

PATIENCE = 10.0         # seconds that a read, a barrier or a log line may take


class StepFailed(Exception):
    """The script cannot go on; what happened has been recorded."""


@dataclass
class Event:
    """Something observable: which connection, what kind, and the text."""
    connection: int     # 0: not about a connection
    kind: str           # 'C' sent, 'S' received, '-' anything else
    text: str


class Shared:
    """What the clients of one run share: barriers and 'has ended' flags."""

    def __init__(self, clients: list[Client], log: maillog.MailLog, zones: dnsstub.Zones,
                 program: str):
        self.log = log
        self.zones = zones
        self.program = program
        self.ended = {client.name: threading.Event() for client in clients}
        sizes: dict[str, int] = {}
        for client in clients:
            for name in {s.text for s in client.steps if s.verb == "sync"}:
                sizes[name] = sizes.get(name, 0) + 1
        self.barriers = {name: threading.Barrier(size) for name, size in sizes.items()}


class Connection:
    """One TCP connection, with the input that was received but not yet read."""

    def __init__(self, sock: socket.socket):
        self.socket = sock
        self.input = b""
        self.closed = ""            # how the server ended it, once it has

    def fill(self, deadline: float) -> bool:
        """Receive more input; False when there will be none before the deadline."""
        if self.closed:
            return False
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return False
        except ConnectionResetError:
            data, self.closed = b"", "reset"
        except OSError:             # includes a TLS stream that was cut short
            data, self.closed = b"", "eof"
        if not data:
            self.closed = self.closed or "eof"
            return False
        self.input += data
        return True

    def take_line(self) -> bytes | None:
        """The next complete line; after the server closed, also an incomplete one."""
        line, newline, rest = self.input.partition(b"\n")
        if not newline and not (self.closed and line):
            return None
        self.input = rest
        return line + newline


def _end(host: str, port: int) -> tuple:
    """An address for a socket; a link-local one has its interface in it, as fe80::1%lo."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]


class ScriptedClient(threading.Thread):
    """Runs one client script."""

    def __init__(self, client: Client, shared: Shared):
        super().__init__(name=client.name, daemon=True)
        self.client = client
        self.shared = shared
        self.events: list[Event] = []
        self.ports: dict[tuple[str, int], str] = {}     # local end -> 'name/number'
        self.error = ""
        self._connections: list[Connection] = []
        self._current = 0
        self._mark = time.monotonic()
        self._log_position = 0

    def run(self) -> None:
        step = None
        try:
            for step in self.client.steps:
                self._do(step)
        except StepFailed:
            pass
        except Exception as error:              # a fault of the harness or scenario
            self.error = f"line {step.line}: {step.verb} {step.text}: {error!r}"
        finally:
            for connection in self._connections:
                connection.socket.close()
            self.shared.ended[self.client.name].set()

    def _do(self, step: Step) -> None:
        method = getattr(self, "step_" + step.verb.replace("-", "_"), None)
        if method is None:
            raise ValueError("unknown step")
        method(step.text)

    def _note(self, kind: str, text: str) -> None:
        self.events.append(Event(self._current, kind, text))

    @property
    def _connection(self) -> Connection:
        return self._connections[self._current - 1]

    # Opening and ending connections.

    def step_connect(self, target: str) -> None:
        """connect [ADDRESS:PORT]: open a connection; it becomes the current one."""
        v6 = ":" in self.client.address
        host, _, port = (target or ("[::1]:25" if v6 else "127.0.0.1:25")).rpartition(":")
        host = host.strip("[]")
        sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(PATIENCE)
        self._connections.append(Connection(sock))
        self._current = len(self._connections)
        try:
            sock.bind(_end(self.client.address, 0))
            sock.connect(_end(host, int(port)))
        except OSError as error:
            self._note("-", f"connect failed: {type(error).__name__}")
            raise StepFailed from None
        name = f"{self.client.name}/{self._current}"
        self.ports[(self.client.logged, sock.getsockname()[1])] = name
        self._note("-", f"connected to [{host}]:{port}")
        self._mark = time.monotonic()

    def step_use(self, number: str) -> None:
        """use N: make connection N the current one."""
        self._current = int(number)

    def step_shutdown(self, _: str) -> None:
        """shutdown: end our half of the connection, keep reading."""
        with contextlib.suppress(OSError):          # the server was faster
            self._connection.socket.shutdown(socket.SHUT_WR)
        self._note("-", "we ended our half")

    def step_close(self, _: str) -> None:
        """close: close the connection, unread input and all."""
        self._connection.socket.close()
        self._note("-", "we closed")

    def step_reset(self, _: str) -> None:
        """reset: abort the connection with a TCP reset."""
        self._connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))
        self._connection.socket.close()
        self._note("-", "we reset")

    # Sending.

    def _send(self, data: bytes) -> None:
        try:
            self._connection.socket.settimeout(PATIENCE)
            self._connection.socket.sendall(data)
        except OSError:
            pass        # the server has closed: the next read will tell

    def step_send(self, text: str) -> None:
        """send TEXT: send these bytes, in one piece."""
        data = escapes.decode(text)
        self._note("C", escapes.show(data))
        self._send(data)

    def step_line(self, text: str) -> None:
        """line TEXT: send TEXT and CR LF, in one piece."""
        self.step_send(text + "\\r\\n")

    def step_drip(self, text: str) -> None:
        """drip SECONDS TEXT: send TEXT byte by byte, with pauses."""
        pause, _, text = text.partition(" ")
        data = escapes.decode(text)
        self._note("C", f"{escapes.show(data)} (byte by byte)")
        for byte in data:
            self._send(bytes([byte]))
            time.sleep(float(pause))

    # Receiving.

    def _read_line(self, deadline: float) -> bytes | None:
        """The next line, recorded; None at the end of input or the deadline."""
        connection = self._connection
        while (line := connection.take_line()) is None:
            if not connection.fill(deadline) and not (connection.closed and connection.input):
                return None
        shown = escapes.show(line)
        self._note("S", shown[:-4] if line.endswith(b"\r\n") else shown + " (no CR LF)")
        return line

    def _note_end(self, waiting_for: str) -> None:
        """Record why there is nothing to read; a timeout ends the script."""
        if self._connection.closed:
            self._note("-", f"closed ({self._connection.closed})")
        else:
            self._note("-", f"timeout waiting for {waiting_for}")
            raise StepFailed

    def step_reply(self, count: str) -> None:
        """reply [N]: read N complete SMTP replies, one by default."""
        deadline = time.monotonic() + PATIENCE
        for _ in range(int(count or 1)):
            while line := self._read_line(deadline):
                if re.match(rb"\d{3}[ \r]", line):
                    break
            if not line:
                self._note_end("a reply")
                return

    def step_readline(self, _: str) -> None:
        """readline: read one line."""
        if self._read_line(time.monotonic() + PATIENCE) is None:
            self._note_end("a line")

    def step_eof(self, _: str) -> None:
        """eof: read until the server closes the connection."""
        deadline = time.monotonic() + PATIENCE
        while self._read_line(deadline):
            pass
        self._note_end("the server to close")

    def step_quiet(self, seconds: str) -> None:
        """quiet SECONDS: listen for that long; what comes, if anything, is recorded."""
        deadline = time.monotonic() + float(seconds)
        while self._read_line(deadline):
            pass
        if self._connection.closed:
            self._note_end("")
        else:
            self._note("-", f"nothing more for {seconds}s")

    def step_starttls(self, _: str) -> None:
        """starttls: do the TLS handshake (after the reply to STARTTLS)."""
        connection = self._connection
        replies = [e.text for e in self.events if (e.connection, e.kind) == (self._current, "S")]
        if not replies or not replies[-1].startswith("220"):
            self._note("-", "not invited to start TLS")
            raise StepFailed
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection.socket.settimeout(PATIENCE)
        try:
            connection.socket = context.wrap_socket(connection.socket)
        except OSError:
            self._note("-", "TLS handshake failed")
            raise StepFailed from None
        self._note("-", "TLS established")

    def step_command(self, text: str) -> None:
        """command TEXT: send TEXT and CR LF, then read the reply."""
        self.step_line(text)
        self.step_reply("")

    def step_quit(self, _: str) -> None:
        """quit: send QUIT, read until the server closes the connection."""
        self.step_line("QUIT")
        self.step_eof("")

    # Time and order.

    def step_wait(self, seconds: str) -> None:
        """wait SECONDS: do nothing."""
        time.sleep(float(seconds))

    def step_mark(self, _: str) -> None:
        """mark: the next 'took' counts from here ('connect' marks too)."""
        self._mark = time.monotonic()

    def step_took(self, bounds: str) -> None:
        """took A..B: record whether the time since the mark lies between A and B."""
        low, high = map(float, bounds.split(".."))
        took = time.monotonic() - self._mark
        inside = low <= took <= high
        self._note("-", f"took {low:g} to {high:g} seconds" if inside
                   else f"took {took:.2f} seconds, not {low:g} to {high:g}")

    def step_sync(self, name: str) -> None:
        """sync NAME: wait until all clients that have this step have reached it."""
        try:
            self.shared.barriers[name].wait(PATIENCE)
        except threading.BrokenBarrierError:
            self._note("-", f"timeout waiting for 'sync {name}'")
            raise StepFailed from None

    def step_after(self, name: str) -> None:
        """after CLIENT: wait until that client's script has ended."""
        if not self.shared.ended[name].wait(3 * PATIENCE):
            self._note("-", f"timeout waiting for client {name}")
            raise StepFailed

    def step_await(self, pattern: str) -> None:
        """await REGEX: wait for the next log line with our address that matches."""
        address = re.escape(f"[{self.client.logged}]")
        self.step_await_any(f"(?=.*{address}).*{pattern}")

    def step_await_any(self, pattern: str) -> None:
        """await-any REGEX: wait for the next log line, of any client, that matches."""
        found = self.shared.log.wait_for(pattern, self._log_position, PATIENCE)
        if found is None:
            self._note("-", f"timeout waiting for log line: {pattern}")
            raise StepFailed
        self._log_position = found + 1

    # Administration.

    def step_reload(self, _: str) -> None:
        """reload: postfix reload."""
        instance.reload()

    def step_stop(self, _: str) -> None:
        """stop: postfix stop."""
        instance.stop()

    def step_start(self, _: str) -> None:
        """start: postfix start."""
        instance.start()

    def step_signal(self, text: str) -> None:
        """signal NAME [workers]: send a signal, TERM or another, to all processes of the
        daemon, or to its workers."""
        name, _, which = text.partition(" ")
        find = {"": instance.processes_of, "workers": instance.workers_of}[which]
        for pid in find(self.shared.program):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.Signals[f"SIG{name}"])
        self._note("-", f"sent {name}")

    def step_gone(self, seconds: str) -> None:
        """gone SECONDS: record whether all processes of the daemon end within that time."""
        deadline = time.monotonic() + float(seconds)
        while instance.processes_of(self.shared.program):
            if time.monotonic() > deadline:
                self._note("-", f"still running after {seconds}s")
                return
            time.sleep(0.05)
        self._note("-", "all processes gone")

    def step_edit(self, settings: str) -> None:
        """edit NAME=VALUE...: postconf -e (quote values that have spaces)."""
        instance.edit(shlex.split(settings))

    def step_write(self, text: str) -> None:
        """write FILE TEXT: replace a file below /etc/postfix."""
        name, _, content = text.partition(" ")
        with open(f"/etc/postfix/{name}", "wb") as stream:
            stream.write(escapes.decode(content))

    def step_dns(self, line: str) -> None:
        """dns LINE: add a line to the [dns] section."""
        self.shared.zones.take(line)

    def step_exec(self, command: str) -> None:
        """exec COMMAND: run a program; record its output and exit status."""
        done = subprocess.run(shlex.split(command), cwd="/etc/postfix", timeout=3 * PATIENCE,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        for line in done.stdout.split(b"\n"):
            if line.strip():
                self._note("-", f"output: {escapes.show(line.rstrip())}")
        self._note("-", f"exit status {done.returncode}")
