"""A name server with one DNS blocklist, over UDP."""

from __future__ import annotations

import contextlib
import random
import socket
import struct

from .neighbourhood import Neighbourhood
from .service import WELL

# It is not there; does not answer; says SERVFAIL; answers something else than it was asked, and
# that everybody is listed; is slow.
DEAD, SILENT, FAILING, LYING, SLOW = "dead", "silent", "failing", "lying", "slow"

# Whom it lists, besides the test point.
LISTED = "127.7."


class NameServer:
    """Answers questions for A records of reversed addresses in a zone."""

    MANNERS = (DEAD, SILENT, FAILING, LYING, SLOW)

    def __init__(self, where: Neighbourhood, address: str):
        self.where = where
        self.address = address
        self.manner = WELL
        self.questions = 0
        self._random = random.Random(1)
        self._socket: socket.socket | None = None
        where.do(self._open)

    def behave(self, manner: str) -> None:
        """Changes its manner."""
        def act() -> None:
            self.manner = manner
            if manner == DEAD and self._socket:
                self.where.loop.remove_reader(self._socket)
                self._socket.close()
                self._socket = None
            elif manner != DEAD and self._socket is None:
                self._open()
        self.where.do(act)

    def _open(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((self.address, 53))
        self.where.loop.add_reader(self._socket, self._hear)

    def _hear(self) -> None:
        while self._socket:
            try:
                question, asker = self._socket.recvfrom(4096)
            except BlockingIOError:
                return
            except OSError:
                continue            # somebody has not waited for an answer
            self.questions += 1
            answers = self._answers(question)
            if self.manner == SLOW:
                self.where.loop.call_later(0.5, self._say, answers, asker)
            else:
                self._say(answers, asker)

    def _say(self, answers: list[bytes], asker: tuple[str, int]) -> None:
        for answer in answers:
            if self._socket:
                with contextlib.suppress(OSError):
                    self._socket.sendto(answer, asker)

    def _answers(self, question: bytes) -> list[bytes]:
        (ident,) = struct.unpack(">H", question[:2])
        labels, at = [], 12
        while length := question[at]:
            labels.append(question[at + 1:at + 1 + length])
            at += 1 + length
        asked = question[12:at + 5]
        if self.manner == SILENT:
            return []
        if self.manner == FAILING:
            return [_message(ident, asked, rcode=2)]
        if self.manner == LYING:
            # Another number, another name, no answer to anything, a part of one.
            name = b"\3bad\4name\0"
            return [_message(ident ^ 1, asked, listed=True),
                    _message(ident, name + asked[-4:], listed=True),
                    self._random.randbytes(self._random.randrange(1, 80)),
                    _message(ident, asked, listed=True)[:self._random.randrange(2, 30)]]
        address = ".".join(label.decode(errors="replace") for label in labels[3::-1])
        listed = address == "127.0.0.2" or address.startswith(LISTED)
        return [_message(ident, asked, listed=listed, rcode=0 if listed else 3)]


def _message(ident: int, asked: bytes, listed: bool = False, rcode: int = 0) -> bytes:
    head = struct.pack(">HHHHHH", ident, 0x8180 | rcode, 1, listed, 0, 0)
    record = b"\xc0\x0c" + struct.pack(">HHIH4B", 1, 1, 60, 4, 127, 0, 0, 2)
    return head + asked + (record if listed else b"")
