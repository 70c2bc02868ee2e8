"""A private Postfix instance: the files of it, and starting and stopping it.

The instance is built outside the namespaces (class Instance) and operated
inside them, where its directories are mounted at Postfix's usual places
(functions start, stop, reload). The screening daemon under test takes its
place in a private daemon_directory of symbolic links, because master(8)
prepends daemon_directory to every command in master.cf, absolute or not.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from . import conditions, namespace
from .scenario import Scenario, ScenarioError

REFERENCE = "postscreen"

# What every instance starts from, unless a scenario's [main.cf] says otherwise.
# Postfix timers count whole seconds: a greet wait of 2s ends after one to two
# seconds, so what a script does within the first second is safely within it.
BASE_MAIN_CF = """\
compatibility_level = 3.6
myhostname = mx.example.test
mydomain = example.test
mydestination = example.test
mynetworks = 10.0.0.0/8
inet_interfaces = all
inet_protocols = all
alias_maps =
local_recipient_maps =
smtpd_peername_lookup = no
postscreen_greet_wait = 2s
"""

# The chroot field of the program under test, where it is '-', is the harness's to say.
BASE_MASTER_CF = """\
smtp       inet       n - - - 1     postscreen
smtpd      pass       - - n - -     smtpd
dnsblog    unix       - - n - 0     dnsblog
tlsproxy   unix       - - n - 0     tlsproxy
tlsmgr     unix       - - n 1000? 1 tlsmgr
cleanup    unix       n - n - 0     cleanup
rewrite    unix       - - n - -     trivial-rewrite
proxymap   unix       - - n - -     proxymap
proxywrite unix       - - n - 1     proxymap
anvil      unix       - - n - 1     anvil
postlog    unix-dgram n - n - 1     postlogd
"""

# What Debian's configure-instance.sh puts into a jail, besides the libraries below;
# resolv.conf comes later.
_JAIL_FILES = ("localtime", "services", "host.conf")
_JAIL_LIBRARIES = ("libnss_*.so*", "libresolv*.so*", "libgcc_s*.so*")

DEFAULT_RESOLV_CONF = ["options timeout:1 attempts:2"]


def postconf(name: str, *options: str) -> str:
    """A parameter of the installed Postfix, or its default where there is no main.cf."""
    directory = subprocess.run(["postconf", "-dh", "config_directory"], check=True,
                               capture_output=True, text=True).stdout.strip()
    if not Path(directory, "main.cf").exists():
        options = ("-d", *options)
    return subprocess.run(["postconf", *options, "-h", name], check=True,
                          capture_output=True, text=True).stdout.strip()


class Template:
    """What all instances share; made once per harness run."""

    def __init__(self, root: Path):
        self.root = root
        self.daemons = Path(postconf("daemon_directory"))
        self.owner = postconf("mail_owner")
        self.version = postconf("mail_version", "-d")
        self.has_tls = self._make_certificate()
        self._make_tree()
        self.table_types = set(self._installed_table_types())

    def _make_certificate(self) -> bool:
        """A self-signed certificate, unless openssl is missing."""
        if not shutil.which("openssl"):
            return False
        (self.root / "tls").mkdir()
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                   "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                   "-subj", "/CN=mx.example.test",
                   "-keyout", str(self.root / "tls/key.pem"),
                   "-out", str(self.root / "tls/cert.pem")]
        return subprocess.run(command, capture_output=True).returncode == 0

    def _installed_table_types(self) -> list[str]:
        # Of the instance: the installed Postfix may lack a main.cf, without which
        # postconf does not answer.
        return subprocess.run(["postconf", "-c", str(self.root / "tree/etc"), "-m"], check=True,
                              capture_output=True, text=True).stdout.split()

    def _make_tree(self) -> None:
        """An instance with its queue directories, as 'postfix check' makes them."""
        tree = self.root / "tree"
        for directory in namespace.MOUNTS:
            (tree / directory).mkdir(parents=True)
        installed = Path(postconf("config_directory"))
        for name in ("dynamicmaps.cf", "dynamicmaps.cf.d", "postfix-files",
                     "postfix-files.d", "postfix-script", "post-install"):
            source = installed / name
            if source.is_dir():
                shutil.copytree(source, tree / "etc" / name)
            elif source.exists():
                shutil.copy2(source, tree / "etc" / name)
        (tree / "etc/main.cf").write_text(BASE_MAIN_CF)
        (tree / "etc/master.cf").write_text(BASE_MASTER_CF)
        shutil.chown(tree / "data", self.owner)
        _make_older(tree / "etc")
        script = ["ip link set lo up", "postfix check"]
        script[1:1] = [f"mount --bind {tree / directory} {place}"
                       for directory, place in namespace.MOUNTS.items()]
        done = subprocess.run([*namespace.ENTER, "sh", "-e", "-c", "\n".join(script)],
                              capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"postfix check failed: {done.stdout}{done.stderr}")
        for leftover in (tree / "log").iterdir():
            leftover.unlink()
        _make_jail(tree / "spool")


class Instance:
    """The files of one instance, made for one scenario and one program."""

    def __init__(self, root: Path, template: Template, scenario: Scenario,
                 program: Path, settings: list[str], chroot: bool = False):
        self.root = root
        subprocess.run(["cp", "-a", str(template.root / "tree"), str(root)], check=True)
        if template.has_tls:
            shutil.copytree(template.root / "tls", root / "etc/tls")
        daemons = root / "daemons"
        daemons.mkdir()
        for daemon in template.daemons.iterdir():
            (daemons / daemon.name).symlink_to(daemon)
        command = program.name
        if program.resolve() != (template.daemons / REFERENCE).resolve():
            (daemons / command).unlink(missing_ok=True)
            if "conditions" in scenario.options:
                conditions.install(daemons / command, program, scenario.options["conditions"])
            else:
                (daemons / command).symlink_to(program)

        for name, content in scenario.files.items():
            (root / "etc" / name).write_text(content)
        self._write_main_cf(scenario, daemons, settings)
        self._write_master_cf(scenario, command, "y" if chroot else "n")
        _make_older(root / "etc")

        resolver = scenario.resolv_conf or DEFAULT_RESOLV_CONF
        if not any(line.startswith("nameserver") for line in resolver):
            ours = namespace.name_server(scenario.options.get("network", ""))
            resolver = [f"nameserver {ours}", *resolver]
        self.resolv_conf = "".join(line + "\n" for line in resolver)
        # A chrooted daemon reads its own copy.
        (root / "spool/etc/resolv.conf").write_text(self.resolv_conf)

    def _write_main_cf(self, scenario: Scenario, daemons: Path, settings: list[str]) -> None:
        """The base parameters that the scenario does not set, then its own lines."""
        base = [*BASE_MAIN_CF.splitlines(), f"daemon_directory = {daemons}"]
        if scenario.options.get("log") != "syslog":
            base.append(f"maillog_file = {namespace.MAIL_LOG}")
        own = [*scenario.main_cf, *settings]
        named = {line.split("=")[0].strip() for line in own}
        lines = [line for line in base if line.split("=")[0].strip() not in named]
        (self.root / "etc/main.cf").write_text("\n".join([*lines, *own]) + "\n")

    def _write_master_cf(self, scenario: Scenario, command: str, chroot: str) -> None:
        """The base entries, with those of the scenario added, replaced, removed."""
        entries = {tuple(line.split()[:2]): line for line in BASE_MASTER_CF.splitlines()}
        for line in _unfold(scenario.master_cf):
            words = line.split()
            if words[0] == "remove":
                name, _, kind = words[1].rpartition("/")
                if entries.pop((name, kind), None) is None:
                    raise ScenarioError(f"{scenario.path}: no such entry: {words[1]}")
            elif len(words) < 8:
                raise ScenarioError(f"{scenario.path}: not a master.cf entry: {line}")
            else:
                entries[tuple(words[:2])] = line
        with (self.root / "etc/master.cf").open("w") as stream:
            for line in entries.values():
                *fields, program = line.split(None, 7)
                if program.split()[0] == REFERENCE:
                    program = command + program[len(REFERENCE):]
                    fields[4] = chroot if fields[4] == "-" else fields[4]
                print(*fields, program, file=stream)


def _make_jail(spool: Path) -> None:
    """Fill the queue directory as Debian does for chrooted daemons."""
    (spool / "etc").mkdir(exist_ok=True)
    for name in _JAIL_FILES:
        if Path("/etc", name).exists():
            shutil.copy("/etc/" + name, spool / "etc" / name)
    for place, content in namespace.RESOLVER_FILES.items():
        (spool / place.lstrip("/")).write_text(content)
    for pattern in _JAIL_LIBRARIES:
        for library in [*Path("/lib").glob(pattern), *Path("/lib").glob("*/" + pattern)]:
            target = spool / library.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)


def _unfold(lines: list[str]) -> list[str]:
    """Join continuation lines, which start with white space."""
    unfolded: list[str] = []
    for line in lines:
        if line[0].isspace() and unfolded:
            unfolded[-1] += " " + line.strip()
        else:
            unfolded.append(line)
    return unfolded


def _make_older(directory: Path) -> None:
    """Postfix waits a second before it reads a file that was just written."""
    then = time.time() - 10
    for path in directory.iterdir():
        if path.is_file():
            os.utime(path, (then, then))


# What follows runs inside the namespaces.

def start() -> None:
    """Start Postfix and wait until master(8) has initialised."""
    directory = postconf("daemon_directory")
    environment = {**os.environ, "MAIL_CONFIG": "/etc/postfix"}
    subprocess.run([f"{directory}/master", "-w"], env=environment, check=True,
                   cwd="/var/spool/postfix", stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10)


def stop() -> None:
    """Stop Postfix, and wait until its daemons have gone.

    postscreen(8) outlives master(8) by a moment, or by as long as it has clients;
    a successor that finds the cache locked would give up.
    """
    subprocess.run(["postfix", "stop"], check=True, capture_output=True, timeout=15)
    deadline = time.monotonic() + 3
    while _other_processes() and time.monotonic() < deadline:
        time.sleep(0.05)


def _other_processes() -> list[int]:
    """The processes of this process namespace that are alive, except our own."""
    alive = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue            # it has ended in the meantime
        if state != "Z" and int(entry.name) != os.getpid():
            alive.append(int(entry.name))
    return alive


def processes_of(program: str) -> list[int]:
    """The processes that run a program, given by its path."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            same = os.path.samefile(entry / "exe", program)
        except OSError:
            continue            # it has ended in the meantime, or is a kernel's
        if same:
            found.append(int(entry.name))
    return found


def workers_of(program: str) -> list[int]:
    """Those whose parent runs the program too."""
    processes = processes_of(program)
    found = []
    for process in processes:
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            continue            # it has ended in the meantime
        if int(stat.rpartition(")")[2].split()[1]) in processes:
            found.append(process)
    return found


def roots_of(program: str) -> list[str]:
    """The root directories of the processes that run a program."""
    found = []
    for process in processes_of(program):
        try:
            found.append(os.readlink(f"/proc/{process}/root"))
        except OSError:
            continue            # it has ended in the meantime
    return found


def reload() -> None:
    """What an administrator types after an edit.

    The old daemon lets go of its cache a moment after the command has returned.
    """
    subprocess.run(["postfix", "reload"], check=True, capture_output=True, timeout=10)
    time.sleep(0.3)


def edit(settings: list[str]) -> None:
    """Change main.cf parameters, as 'postconf -e' does."""
    subprocess.run(["postconf", "-e", *settings], check=True, capture_output=True)
