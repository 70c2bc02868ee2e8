#!/usr/bin/python3
"""Runs a program under settings of a unit of systemd, which is not needed for that.

    units.py SETTING NAME PROGRAM [ARGUMENT...]

NAME is argv[0] for the program. Settings:

debian13        those of postfix.service in Debian 13, as far as a process can notice them
debian12        what postfix.service of Debian 12, which has no settings, can be given by an
                administrator: the same system calls, in the words of that version of systemd;
                and MemoryDenyWriteExecute
no-landlock     a kernel without Landlock
no-seccomp      a container that lets nobody set a filter
no-capset       a container that lets nobody change capabilities
yes-landlock    something that agrees to Landlock and does nothing
"""

import ctypes
import errno
import os
import struct
import subprocess
import sys

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000

# SystemCallFilter=@system-service @setuid chroot, by systemd-analyze(1) of both versions: the
# calls for sandboxes are not in the older one.
ALLOWED = {
    ("debian12", "x86_64"): """0-26 28-100 102 104-133 135 137-138 140-152 157-158 160-162 186-211
        213-226 228-235 237-245 247-297 299 302-303 306-312 314-316 318-319 322-328 332-334
        424-427 434-437 439-441 449-450""",
    ("debian12", "aarch64"): """0-17 19-38 43-57 59 61-88 90-103 107-111 113-115 118-141 143-160
        163-169 172-223 226-231 233-240 242-243 260-261 264 267-272 274-276 278-279 281-287
        291-293 424-427 434-437 439-441 449-450""",
    ("debian13", "x86_64"): """0-26 28-100 102 104-133 135 137-138 140-152 157-158 160-162 186-211
        213-226 228-235 237-245 247-297 299 302-303 306-312 314-319 322-328 332-334 424-427
        434-437 439-441 444-446 449-450""",
    ("debian13", "aarch64"): """0-17 19-38 43-57 59 61-88 90-103 107-111 113-115 118-141 143-160
        163-169 172-223 226-231 233-240 242-243 260-261 264 267-272 274-279 281-287 291-293
        424-427 434-437 439-441 444-446 449-450""",
}

# chown, dac_override, dac_read_search, setgid, setuid, net_bind_service, sys_chroot
BOUNDING_SET = {0, 1, 2, 6, 7, 10, 18}

NUMBERS = {
    "x86_64": {"socket": 41, "clone": 56, "clone3": 435, "unshare": 272, "setns": 308,
               "personality": 135, "seccomp": 317, "capset": 126, "landlock_create_ruleset": 444,
               "landlock_restrict_self": 446, "landlock_add_rule": 445},
    "aarch64": {"socket": 198, "clone": 220, "clone3": 435, "unshare": 97, "setns": 268,
                "personality": 92, "seccomp": 277, "capset": 91, "landlock_create_ruleset": 444,
                "landlock_restrict_self": 446, "landlock_add_rule": 445},
}

LIBC = ctypes.CDLL(None, use_errno=True)
MACHINE = os.uname().machine


def prctl(option: int, *arguments) -> None:
    """prctl(2), which has to work."""
    values = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    values += [ctypes.c_ulong(0)] * (4 - len(values))
    if LIBC.prctl(option, *values) < 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def set_filter(lines: list[tuple[int, int, int, int]]) -> None:
    """Sets a seccomp filter, by its instructions."""
    program = b"".join(struct.pack("HBBI", *line) for line in lines)
    text = ctypes.create_string_buffer(program, len(program))
    prctl(22, 2, ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // 8, ctypes.addressof(text))))


LOAD, EQUAL, AT_LEAST, ANY_BIT, ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06


def refuse(call: str, answer: int) -> None:
    """This call has this answer from now on."""
    set_filter([(LOAD, 0, 0, 0), (EQUAL, 0, 1, NUMBERS[MACHINE][call]),
                (ANSWER, 0, 0, answer), (ANSWER, 0, 0, ALLOW)])


def allow_only(ranges: str) -> None:
    """All other calls are the end."""
    lines = [(LOAD, 0, 0, 0)]
    for part in ranges.split():
        first, _, last = part.partition("-")
        lines += [(AT_LEAST, 0, 2, int(first)), (AT_LEAST, 1, 0, int(last or first) + 1),
                  (ANSWER, 0, 0, ALLOW)]
    set_filter([*lines, (ANSWER, 0, 0, KILL)])


def restrict_namespaces() -> None:
    """RestrictNamespaces=yes."""
    namespaces = 0x7E020080
    set_filter([(LOAD, 0, 0, 0), (EQUAL, 0, 3, NUMBERS[MACHINE]["clone"]), (LOAD, 0, 0, 16),
                (ANY_BIT, 0, 1, namespaces), (ANSWER, 0, 0, ERRNO | errno.EPERM),
                (ANSWER, 0, 0, ALLOW)])
    refuse("clone3", ERRNO | errno.ENOSYS)
    refuse("unshare", ERRNO | errno.EPERM)
    refuse("setns", ERRNO | errno.EPERM)


def restrict_families() -> None:
    """RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6."""
    families = [(EQUAL, 4 - number, 0, family) for number, family in enumerate((1, 16, 2, 10))]
    set_filter([(LOAD, 0, 0, 0), (EQUAL, 0, 6, NUMBERS[MACHINE]["socket"]), (LOAD, 0, 0, 16),
                *families, (ANSWER, 0, 0, ERRNO | errno.EAFNOSUPPORT), (ANSWER, 0, 0, ALLOW)])


def limit_capabilities() -> None:
    """CapabilityBoundingSet=; what is effective follows when the program is executed."""
    for number in set(range(64)) - BOUNDING_SET:
        if LIBC.prctl(23, ctypes.c_ulong(number), 0, 0, 0) == 1:
            prctl(24, number)


def protect_system() -> None:
    """ProtectSystem=full and ProcSubset=pid."""
    if LIBC.unshare(0x00020000):
        raise OSError(ctypes.get_errno(), "unshare")
    run = ["mount", "--make-rprivate", "/"], ["mount", "--bind", "/etc", "/etc"], \
        ["mount", "-o", "remount,ro,bind", "/etc"], ["mount", "--bind", "/usr", "/usr"], \
        ["mount", "-o", "remount,ro,bind", "/usr"], \
        ["mount", "-t", "proc", "-o", "subset=pid", "proc", "/proc"]
    for command in run:
        subprocess.run(command, check=True)


def deny_write_execute() -> None:
    """MemoryDenyWriteExecute=yes; a kernel that does not know it has other ways, which we do
    without."""
    LIBC.prctl(65, ctypes.c_ulong(1), 0, 0, 0)


def apply(setting: str) -> None:
    """Applies the settings that go by this name."""
    if setting == "debian13":
        protect_system()
        deny_write_execute()
        restrict_namespaces()
        restrict_families()
        refuse("personality", ERRNO | errno.EPERM)
        allow_only(ALLOWED[setting, MACHINE])
        limit_capabilities()
    elif setting == "debian12":
        deny_write_execute()
        allow_only(ALLOWED[setting, MACHINE])
    elif setting == "no-landlock":
        refuse("landlock_create_ruleset", ERRNO | errno.ENOSYS)
    elif setting == "no-seccomp":
        refuse("seccomp", ERRNO | errno.EPERM)
    elif setting == "no-capset":
        refuse("capset", ERRNO | errno.EPERM)
    elif setting == "yes-landlock":
        # An answer of zero: no error, and no effect.
        refuse("landlock_restrict_self", ERRNO)
    else:
        sys.exit(f"unknown setting: {setting}")


def main() -> None:
    _, setting, name, program, *arguments = sys.argv
    apply(setting)
    os.environ.pop("LC_CTYPE", None)
    os.execv(program, [name, *arguments])


main()
