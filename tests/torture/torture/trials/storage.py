"""The cache's disk and its files: full, read-only, broken, removed, replaced, damaged."""

import fcntl
import os
import random
import shutil
import signal
import sqlite3
import stat
import struct
import subprocess
import time
from pathlib import Path

from harness import namespace

from ..plan import Figure, Setting, Trial, must
from ..visitors import addresses, visits
from ..world import World

DATA = Path(namespace.MOUNTS["data"])
TROUBLE = Setting(troubles=("warning:",))
# Of this network nobody is known before a trial says so.
NETWORK = 32
# The system calls by which files become longer or other ones.
WRITES = "pwrite64,ftruncate,fallocate"


class Clients:
    """Clients of a trial: they come for the first time, and again."""

    def __init__(self, world: World):
        self._world = world
        self._next = 1
        self.served = 0

    def new(self, count: int = 5) -> list[str]:
        """New ones; all must be let in."""
        sources = addresses(NETWORK, count, self._next)
        self._next += count
        self._let_in(sources, "NEW")
        return sources

    def again(self, sources: list[str], what: str = "OLD") -> None:
        """They come again, and must be known, or not."""
        self._let_in(sources, what)

    def _let_in(self, sources: list[str], what: str) -> None:
        counts = [self._count(what, source) for source in sources]
        for visit in visits(sources, tries=3):
            must(visit.reply.startswith("220 "), f"a client was not let in: {visit}")
        self.served += len(sources)
        for source, before in zip(sources, counts):
            self._world.until(lambda s=source, b=before: self._count(what, s) > b, 5,
                              f"PASS {what} {source}")

    def _count(self, what: str, source: str) -> int:
        return self._world.log_text().count(f"PASS {what} [{source}]")


def mount_data(kind: str, options: str, source: str = "tmpfs") -> None:
    subprocess.run(["mount", "-t", kind, "-o", options, source, str(DATA)], check=True,
                   capture_output=True)
    shutil.chown(DATA, "postfix")
    DATA.chmod(0o700)


def _own_disk(world: World) -> None:
    """A small file system of its own, on a loop device. What comes next is the end of a disk: it
    must be this one."""
    for name, number in (("loop-control", os.makedev(10, 237)),
                         *((f"loop{n}", os.makedev(7, n)) for n in range(64))):
        if not (path := Path("/dev") / name).exists():
            os.mknod(path, 0o600 | (stat.S_IFBLK if name[-1].isdigit() else stat.S_IFCHR), number)
    image = world.scratch / "disk"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    mount_data("ext4", "loop", str(image))
    device = DATA.stat().st_dev
    backing = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/loop/backing_file")
    must(os.major(device) == 7 and Path(backing.read_text().strip()) == image,
         "this is not the disk of the trial")


def _lives(world: World, pid: int, since: float) -> None:
    """The worker must be the one that it was, and not have been busy with nothing."""
    must(world.worker() == pid, "the worker has died")
    spent = world.cpu_of(pid) / 1e6
    must(spent < since + 5, f"the worker has used {spent:.1f} s of processor time")


def _few(world: World, pattern: str, most: int) -> int:
    """Warnings are rationed."""
    found = len(world.records(pattern))
    must(0 < found <= most, f"{found} records like {pattern}")
    return found


def _fill() -> Path:
    """Leaves no room."""
    ballast = DATA / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def _full(world: World) -> list[Figure]:
    mount_data("tmpfs", "size=512k")
    clients = Clients(world)
    known = clients.new()
    worker = world.worker()
    ballast = _fill()
    # More than what fits into pages that the log has already.
    learnt = clients.new(150 if world.short else 1000)
    clients.again(known)
    clients.again(learnt[:5])
    _lives(world, worker, 2)
    warnings = _few(world, "cannot write", 3)
    world.restart()
    again = clients.new()
    world.until(lambda: world.records("memory only"), 5, "memory only")
    clients.again(again)
    clients.again(known, "NEW")
    ballast.unlink()
    world.restart()
    kept = clients.new()
    world.restart()
    clients.again(kept)
    return [Figure("clients", clients.served), Figure("warnings", warnings)]


def _freed(world: World) -> list[Figure]:
    mount_data("tmpfs", "size=512k")
    clients = Clients(world)
    clients.new()
    worker = world.worker()
    ballast = _fill()
    learnt = clients.new(150)
    world.until(lambda: world.records("cannot write"), 10, "a warning")
    ballast.unlink()
    took = world.until(lambda: world.records("written again"), 40, "written again")
    _lives(world, worker, 2)
    world.kill(worker)
    clients.again(learnt)
    return [Figure("clients", clients.served), Figure("seconds until written", took)]


def _read_only(world: World) -> list[Figure]:
    mount_data("tmpfs", "size=8m")
    clients = Clients(world)
    known = clients.new()
    worker = world.worker()
    # A kernel that has made a file system read-only after an error answers like this; nobody
    # can ask for it while a file is open for writing.
    injected = Injected(world, worker, WRITES, "EROFS")
    learnt = clients.new(20)
    clients.again(known + learnt)
    world.until(lambda: world.records("cannot write"), 10, "a warning")
    _lives(world, worker, 2)
    injected.end()
    subprocess.run(["postfix", "reload"], check=True, capture_output=True, timeout=20)
    world.until(lambda: not world.gateposts(), 20, "all workers have ended")
    subprocess.run(["mount", "-o", "remount,ro", str(DATA)], check=True, capture_output=True)
    again = clients.new()
    world.until(lambda: world.records("memory only"), 10, "memory only")
    worker = world.worker()
    clients.again(again)
    _lives(world, worker, 2)
    subprocess.run(["postfix", "reload"], check=True, capture_output=True, timeout=20)
    world.until(lambda: not world.gateposts(), 20, "all workers have ended")
    subprocess.run(["mount", "-o", "remount,rw", str(DATA)], check=True, capture_output=True)
    clients.again(known + learnt)
    must(not world.records("it is now"), "it was set aside")
    warnings = _few(world, "warning:", 3)
    return [Figure("clients", clients.served), Figure("warnings", warnings)]


def _dead(world: World) -> list[Figure]:
    """Every access to the disk fails; mapped pages are gone, too."""
    _own_disk(world)
    clients = Clients(world)
    known = clients.new()
    worker = world.worker()
    time.sleep(1.2)
    directory = os.open(DATA, os.O_RDONLY)
    ext4_ioc_shutdown, no_log_flush = 0x8004587D, 2
    fcntl.ioctl(directory, ext4_ioc_shutdown, struct.pack("I", no_log_flush))
    os.close(directory)
    learnt = clients.new(20)
    clients.again(known + learnt)
    clients.new(20)
    _lives(world, worker, 2)
    world.restart()
    clients.new()
    clients.again(clients.new())
    warnings = _few(world, "warning:", 12)
    return [Figure("clients", clients.served), Figure("warnings", warnings)]


class Injected:
    """System calls of a process fail."""

    def __init__(self, world: World, pid: int, calls: str, error: str):
        self._process = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={calls}",
             "-e", f"inject={calls}:error={error}"], stderr=subprocess.DEVNULL)
        world.until(lambda: f"TracerPid:\t{self._process.pid}\n"
                    in Path(f"/proc/{pid}/status").read_text(), 10, "strace is at work")

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=10)


def _refused(world: World, calls: str, error: str) -> list[Figure]:
    mount_data("tmpfs", "size=8m")
    clients = Clients(world)
    known = clients.new()
    worker = world.worker()
    injected = Injected(world, worker, calls, error)
    learnt = clients.new(20)
    clients.again(known + learnt)
    world.until(lambda: world.records("cannot write"), 10, "a warning")
    injected.end()
    took = world.until(lambda: world.records("written again"), 40, "written again")
    _lives(world, worker, 2)
    warnings = _few(world, "cannot write", 2)
    world.kill(worker)
    clients.again(known + learnt)
    return [Figure("clients", clients.served), Figure("warnings", warnings),
            Figure("seconds until written", took)]


def _quota(world: World) -> list[Figure]:
    return _refused(world, WRITES, "EDQUOT")


def _syncs_fail(world: World) -> list[Figure]:
    return _refused(world, "fsync,fdatasync", "EIO")


def _cannot_read(world: World, error: str) -> tuple[Clients, list]:
    """A worker cannot read its files for a while. The clients, and those that it had not met."""
    mount_data("tmpfs", "size=8m")
    clients = Clients(world)
    known = clients.new()
    world.restart()
    # Starts a worker that remembers nobody.
    clients.again(known[:1])
    worker = world.worker()
    injected = Injected(world, worker, "pread64", error)
    learnt = clients.new(30)
    clients.again(learnt)
    injected.end()
    _lives(world, worker, 2)
    return clients, known[1:]


def _reads_fail(world: World) -> list[Figure]:
    clients, not_met = _cannot_read(world, "ESTALE")
    warnings = _few(world, "cannot read|cannot write", 3)
    clients.again(not_met)
    return [Figure("clients", clients.served), Figure("warnings", warnings)]


def _unreadable(world: World) -> list[Figure]:
    """What the disk has lost is damage, to SQLite and to us."""
    clients, _ = _cannot_read(world, "EIO")
    must(len(world.records("warning:")) == 2, "there are other warnings than two of damage")
    world.restart()
    kept = clients.new()
    world.restart()
    clients.again(kept)
    return [Figure("clients", clients.served)]


# ---- files that are not what they were


def _name(suffix: str) -> Path:
    return DATA / ("postscreen_cache.sqlite" + suffix)


def _remove(*suffixes: str) -> None:
    for suffix in suffixes:
        path = _name(suffix)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
        other.execute("INSERT INTO mine VALUES (7)")
    other.close()
    shutil.chown(path, "postfix")


def _in_place(make: object) -> object:
    """Puts something else in the place of a file, under its name."""
    def act(suffix: str) -> None:
        new = DATA / "new"
        make(new)
        if new.is_dir() and not new.is_symlink():
            _remove(suffix)
        new.rename(_name(suffix))
    return act


def _write(content: bytes) -> object:
    def make(path: Path) -> None:
        path.write_bytes(content)
        shutil.chown(path, "postfix")
    return make


def _emptied(suffix: str) -> None:
    os.truncate(_name(suffix), 0)


def _overwritten(suffix: str) -> None:
    size = max(_name(suffix).stat().st_size, 8192)
    with _name(suffix).open("r+b") as file:
        file.write(random.Random(suffix).randbytes(size))


WAYS = {
    "removed": _remove,
    "emptied": _emptied,
    "overwritten": _overwritten,
    "a directory": _in_place(lambda path: path.mkdir()),
    "a dangling symlink": _in_place(lambda path: path.symlink_to("/nowhere/else")),
    "a pipe": _in_place(lambda path: os.mkfifo(path)),
    "an empty file": _in_place(_write(b"")),
    "nonsense": _in_place(_write(b"no database " * 2000)),
    "another program's database": _in_place(_foreign),
}
SHORT = (("removed", ""), ("emptied", "-shm"), ("a pipe", "-wal"))


def _replaced(world: World) -> list[Figure]:
    mount_data("tmpfs", "size=32m")
    clients = Clients(world)
    cases = SHORT if world.short else [(way, suffix) for way in WAYS
                                       for suffix in ("", "-wal", "-shm")]
    for way, suffix in cases:
        what = f"{way}{suffix and ' at '}{suffix}"
        known = clients.new(3)
        worker = world.worker()
        WAYS[way](suffix)
        learnt = clients.new(8)
        clients.again(learnt)
        must(worker in world.gateposts(), f"{what}: the worker has died")
        if not world.short:
            # By then it is noticed that files are gone.
            time.sleep(6)
            clients.again(clients.new(2))
        world.restart()
        fresh = clients.new(3)
        clients.again(fresh)
        for name in ("", "-wal", "-shm"):
            if (path := _name(name)).is_symlink() or path.exists():
                if not path.is_file() or path.is_symlink():
                    _remove(name)
        world.restart()
        # Whatever was in the way, from here on there is a sound file.
        kept = clients.new(2)
        world.restart()
        clients.again(kept)
        del known
    aside = len({path.name.split("-wal")[0].split("-shm")[0]
                 for path in DATA.glob("*.damaged-*")})
    must(not world.records("killed by signal|panic|fatal:"), "a process has died")
    return [Figure("cases", len(cases)), Figure("clients", clients.served),
            Figure("set aside", aside)]


def _flip(dice: random.Random, suffixes: tuple[str, ...], count: int) -> int:
    flipped = 0
    for _ in range(count):
        try:
            with _name(dice.choice(suffixes)).open("r+b") as file:
                size = os.fstat(file.fileno()).st_size
                if size:
                    # The beginning is where most depends on.
                    place = dice.randrange(min(size, dice.choice((100, 4096, size))))
                    file.seek(place)
                    file.write(bytes([dice.randrange(256)]))
                    flipped += 1
        except FileNotFoundError:
            pass
    return flipped


def _flipped(world: World) -> list[Figure]:
    mount_data("tmpfs", "size=64m")
    clients = Clients(world)
    rounds, flipped = (4, 0) if world.short else (100, 0)
    for number in range(rounds):
        dice = random.Random(number)
        clients.new(20)
        worker = world.worker()
        spent = world.cpu_of(worker) / 1e6
        # While it runs.
        flipped += _flip(dice, ("", "-wal", "-shm"), dice.choice((1, 10, 100)))
        learnt = clients.new(5)
        clients.again(learnt)
        must(worker in world.gateposts(), f"round {number}: the worker has died")
        if world.worker() == worker:
            _lives(world, worker, spent + 2)
        # And while it does not.
        subprocess.run(["postfix", "reload"], check=True, capture_output=True, timeout=20)
        world.until(lambda: not world.gateposts(), 20, "all workers have ended")
        flipped += _flip(dice, ("", "-wal"), dice.choice((1, 10, 100)))
    must(not world.records("killed by signal|panic|fatal:"), "a process has died")
    aside = len(world.records("it is now"))
    return [Figure("rounds", rounds), Figure("bytes", flipped), Figure("set aside", aside),
            Figure("clients", clients.served)]


def _newer(world: World) -> list[Figure]:
    mount_data("tmpfs", "size=8m")
    clients = Clients(world)
    known = clients.new()
    worker = world.worker()
    other = sqlite3.connect(_name(""), isolation_level=None, timeout=10)
    other.execute("ALTER TABLE verdict ADD COLUMN greeted INTEGER NOT NULL DEFAULT 0")
    other.execute("CREATE TABLE later (name TEXT)")
    other.execute("PRAGMA user_version = 9")
    learnt = clients.new()
    clients.again(known + learnt)
    _lives(world, worker, 2)
    world.restart()
    clients.again(known + learnt)
    must(other.execute("PRAGMA user_version").fetchone() == (9,), "the version was changed")
    other.close()
    must(not world.records("it is now"), "it was set aside")
    return [Figure("clients", clients.served)]


TRIALS = (
    Trial("storage/full", "the disk is full, in use and at a start", _full, TROUBLE, short=False),
    Trial("storage/freed", "the disk was full: nothing that was learnt is lost", _freed, TROUBLE),
    Trial("storage/read-only", "the file system becomes read-only, and is at a start", _read_only,
          TROUBLE),
    Trial("storage/dead", "the disk gives up", _dead, TROUBLE),
    Trial("storage/quota", "the quota is exceeded", _quota, TROUBLE),
    Trial("storage/syncs-fail", "the disk does not take what it is given", _syncs_fail, TROUBLE),
    Trial("storage/reads-fail", "the disk cannot be read", _reads_fail, TROUBLE),
    Trial("storage/unreadable", "the disk has lost something", _unreadable, TROUBLE),
    Trial("storage/replaced", "files of the cache are removed, emptied, replaced", _replaced,
          TROUBLE),
    Trial("storage/flipped", "random bytes of the cache are changed", _flipped, TROUBLE),
    Trial("storage/newer", "a later version has changed the tables", _newer),
)
