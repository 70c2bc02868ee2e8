"""One run of one scenario: the first process inside its private namespaces.

Started by cli.run_once() as `python -m harness.worker JOB-FILE`. When this
process ends, the kernel ends all others of the run with it.
"""

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from . import client, dnsstub, instance, maillog, namespace, scenario


def observe(job: dict) -> dict:
    """Do one run; return what was seen, as it was seen."""
    root = Path(job["root"])
    script = scenario.load(Path(job["scenario"]), job["name"])
    log = maillog.MailLog(Path(namespace.MAIL_LOG))
    network = script.options.get("network", "")
    namespace.set_up(root, job["resolv_conf"], {c.address for c in script.clients}, network)
    if script.options.get("log") == "syslog":
        namespace.set_up_dev(root)
        maillog.SyslogSocket("/dev/log", log.path)
    stub = dnsstub.DnsStub(dnsstub.Zones.parse(script.dns), namespace.name_server(network))
    instance.start()

    shared = client.Shared(script.clients, log, stub.zones, job["program"])
    clients = [client.ScriptedClient(c, shared) for c in script.clients]
    for thread in clients:
        thread.start()
    deadline = time.monotonic() + job["limit"]
    for thread in clients:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            thread.error = f"the script did not end within {job['limit']} seconds"
    log.wait_until_settled()

    roots = instance.roots_of(job["program"])
    errors = [f"client {t.name}: {t.error}" for t in clients if t.error]
    return {
        "error": "; ".join(errors),
        "root": job["root"],
        "program": job["program"],
        "clients": [{"name": t.client.name, "address": t.client.logged,
                     "events": [[e.connection, e.kind, e.text] for e in t.events]}
                    for t in clients],
        "ports": {f"{address}:{port}": name for t in clients
                  for (address, port), name in t.ports.items()},
        "log": log.lines(),
        "dns": stub.asked,
        "roots": roots,
    }


def _end_with_parent() -> None:
    """Standard input is a pipe that the parent holds open as long as it lives."""
    os.read(0, 1)
    os._exit(1)


def main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = json.loads(Path(sys.argv[1]).read_text())
    try:
        run = observe(job)
    except Exception:
        run = {"error": traceback.format_exc()}
    Path(job["result"]).write_text(json.dumps(run))


if __name__ == "__main__":
    main()
