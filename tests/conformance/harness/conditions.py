"""What stands in the way of the program under test when it starts.

With 'conditions: FILE' in a scenario, master(8) executes a script of ours in
the program's place. It does what /etc/postfix/FILE says and then executes the
program. A scenario changes the file, and the next start goes differently.
"""

import errno
import os
import resource
import sys
from pathlib import Path

from . import namespace


def install(script: Path, program: Path, conditions: str) -> None:
    """Write the script that takes the program's place."""
    package = Path(__file__).resolve().parents[1]
    script.write_text(f"#!{sys.executable} -IS\n"
                      "import sys\n"
                      f"sys.path.insert(0, {str(package)!r})\n"
                      "from harness import conditions\n"
                      f"conditions.run({str(program)!r}, {conditions!r})\n")
    script.chmod(0o755)


def run(program: str, conditions: str) -> None:
    """Meet the conditions, and become the program."""
    for line in Path("/etc/postfix", conditions).read_text().split("\n"):
        if not line:
            continue
        verb, *words = line.split()
        if verb == "refuse":                    # CALL ERROR
            namespace.refuse(words[0], getattr(errno, words[1]))
        elif verb == "limit":                   # RESOURCE NUMBER
            number = int(words[1])
            resource.setrlimit(getattr(resource, f"RLIMIT_{words[0]}"), (number, number))
        else:
            raise ValueError(line)
    os.execv(program, [os.path.basename(sys.argv[0]), *sys.argv[1:]])
