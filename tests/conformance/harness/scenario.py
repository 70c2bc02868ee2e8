"""Scenario files: parsing and the objects they turn into.

The format is described in ../README.md. Parsing is strict: anything that is
not understood is an error that names the file and the line, because a typing
error that silently weakens a scenario is worse than a scenario that stops.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path

SUFFIX = ".scn"


# The normalisation rules that a scenario may switch off with 'strict:'.
RULES = ("dns-retries", "dnsbl-logger", "close-kind", "order")

# What 'network:' can take away: the IPv6 addresses, all IPv6 sockets, the IPv4 addresses.
NETWORKS = ("no-ipv6", "no-ipv6-sockets", "no-ipv4")


class ScenarioError(Exception):
    """A scenario file that cannot be understood."""


@dataclass(frozen=True)
class Step:
    """One line of a client script."""
    verb: str
    text: str           # the rest of the line, not yet interpreted
    line: int           # line number in the scenario file


@dataclass(frozen=True)
class Client:
    """One scripted client: a name, a source address, and what it does."""
    name: str
    address: str        # a link-local one with its interface: fe80::1%lo
    steps: tuple[Step, ...]

    @property
    def logged(self) -> str:
        """The address as it is logged: the C library's form, without an interface."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        return socket.inet_ntop(family, ipaddress.ip_address(self.address).packed)


@dataclass
class Scenario:
    name: str
    path: Path
    title: str = ""
    needs: list[str] = field(default_factory=list)      # else: skipped
    candidate_only: str = ""                            # why the reference does not run
    strict: set[str] = field(default_factory=set)       # rules switched off
    ignore: list[str] = field(default_factory=list)     # log lines not compared
    options: dict[str, str] = field(default_factory=dict)
    main_cf: list[str] = field(default_factory=list)
    master_cf: list[str] = field(default_factory=list)
    resolv_conf: list[str] = field(default_factory=list)
    dns: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    where: list[tuple[int, str]] = field(default_factory=list)


_CLIENT = re.compile(r"client ([\w-]+) (\S+)(?: x(\d+)( same-address)?)?$")
_HEADER = re.compile(r"(title|needs|strict|ignore|limit|log|network|conditions|candidate-only): *(.+)$")


def load(path: Path, name: str) -> Scenario:
    """Read one scenario file."""
    scenario = Scenario(name=name, path=path)
    section, header, body = "", "", []

    def fail(line: int, why: str):
        raise ScenarioError(f"{path}:{line}: {why}")

    def finish():
        try:
            _take_section(scenario, header, body)
        except ScenarioError as error:
            fail(section_line, str(error))

    section_line = 0
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.rstrip()
        if match := re.match(r"\[(.+)\]$", line):
            if section:
                finish()
            section, header, body = match[1].split()[0], match[1], []
            section_line = number
        elif section:
            body.append((number, line))
        elif line and not line.startswith("#"):
            match = _HEADER.match(line)
            if not match:
                fail(number, f"neither a header nor a [section]: {line}")
            _take_header(scenario, match[1], match[2])
    if section:
        finish()

    if not scenario.title:
        fail(1, "a scenario needs a 'title:' line")
    if not scenario.clients:
        fail(1, "a scenario needs at least one [client NAME ADDRESS] section")
    if not scenario.where:
        fail(1, "a scenario needs a [where] section with at least one assertion, "
                "so that it cannot pass by accident")
    return scenario


def _take_header(scenario: Scenario, key: str, value: str) -> None:
    if key == "title":
        scenario.title = value
    elif key == "candidate-only":
        scenario.candidate_only = value
    elif key == "needs":
        scenario.needs.append(value)
    elif key == "strict":
        scenario.strict.update(value.split())
        if unknown := scenario.strict - set(RULES):
            raise ScenarioError(f"{scenario.path}: no such rule: {', '.join(unknown)}")
    elif key == "ignore":
        scenario.ignore.append(value)
    else:
        scenario.options[key] = value
        if key == "network" and value not in NETWORKS:
            raise ScenarioError(f"{scenario.path}: no such network: {value}")


def _take_section(scenario: Scenario, header: str, body: list) -> None:
    plain = [text for _, text in body if text and not text.startswith("#")]
    if header == "main.cf":
        scenario.main_cf += [text for _, text in body]
    elif header == "master.cf":
        scenario.master_cf += plain
    elif header == "resolv.conf":
        scenario.resolv_conf += plain
    elif header == "dns":
        scenario.dns += plain
    elif header == "where":
        scenario.where += [(n, t) for n, t in body if t and not t.startswith("#")]
    elif match := re.match(r"file ([\w.-]+)$", header):
        lines = [text for _, text in body]
        while lines and not lines[-1]:
            lines.pop()
        scenario.files[match[1]] = "".join(text + "\n" for text in lines)
    elif match := _CLIENT.match(header):
        scenario.clients += _clients(match, body)
    else:
        raise ScenarioError(f"unknown section [{header}]")


def _clients(match: re.Match, body: list) -> list[Client]:
    name, address, count, same = match.groups()
    steps = []
    for number, text in body:
        text = text.lstrip()
        if not text or text.startswith("#"):
            continue
        times = 1
        if repeat := re.match(r"repeat (\d+) +(.+)$", text):
            times, text = int(repeat[1]), repeat[2]
        verb, _, rest = text.partition(" ")
        steps += [Step(verb, rest, number)] * times
    try:
        first = ipaddress.ip_address(address)
    except ValueError:
        raise ScenarioError(f"not an address: {address}") from None
    if count is None:
        return [Client(name, str(first), tuple(steps))]
    return [Client(f"{name}-{i + 1}", str(first if same else first + i), tuple(steps))
            for i in range(int(count))]


def load_all(root: Path, prefix: str = "") -> list[Scenario]:
    """Read every scenario under a directory, in name order; names get the prefix."""
    paths = sorted(root.rglob("*" + SUFFIX))
    return [load(p, prefix + str(p.relative_to(root))[:-len(SUFFIX)]) for p in paths]
