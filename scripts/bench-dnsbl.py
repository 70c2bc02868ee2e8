#!/usr/bin/env python3
"""Run the bench of benches/dnsbl beside a Postfix instance, in namespaces of its own.

    bench-dnsbl.py PROGRAM [OPTION...]

Run by bench-dnsbl.sh, as root. The instance is one of the conformance tests: the installed
Postfix's programs and defaults under a master(8) of its own, here without a screening daemon.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/conformance"))

from harness import instance, namespace, scenario  # noqa: E402

# What is not answered is waited for until it was counted.
RESOLV_CONF = ["options timeout:30 attempts:1"]


def main(program: str, options: list[str]) -> int:
    """Outside: make the instance, and enter the namespaces."""
    if why := namespace.problem():
        print(f"bench-dnsbl: {why}; only the resolver is measured")
        return subprocess.run([program, "--bench", *options]).returncode
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    root = Path(tempfile.mkdtemp(prefix="bench-dnsbl-"))
    root.chmod(0o755)           # daemons that run as another user must get in
    try:
        template = instance.Template(root)
        script = scenario.Scenario(name="bench-dnsbl", path=Path(__file__),
                                   master_cf=["remove smtp/inet"], resolv_conf=RESOLV_CONF)
        place = root / "instance"
        private = instance.Instance(place, template, script,
                                    template.daemons / instance.REFERENCE, [])
        (root / "resolv.conf").write_text(private.resolv_conf)
        print(f"Postfix {template.version}; {_setting(place, 'max_use')}", flush=True)
        return subprocess.run([*namespace.ENTER, sys.executable, "-B", __file__, "--inside",
                               str(root), program, *options]).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _setting(place: Path, name: str) -> str:
    return subprocess.run(["postconf", "-c", str(place / "etc"), name], check=True,
                          capture_output=True, text=True).stdout.strip()


def inside(root: Path, program: str, options: list[str]) -> int:
    """Inside: start Postfix, measure, stop it. The kernel ends what is left."""
    namespace.set_up(root / "instance", (root / "resolv.conf").read_text(), set(), "")
    instance.start()
    measured = subprocess.run([program, "--bench", "--server", f"{namespace.NAME_SERVER}:53",
                               "--queue-directory", namespace.MOUNTS["spool"], *options])
    instance.stop()
    return measured.returncode


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        sys.exit(inside(Path(sys.argv[2]), sys.argv[3], sys.argv[4:]))
    sys.exit(main(sys.argv[1], sys.argv[2:]))
