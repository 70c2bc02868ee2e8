"""Count what grok patterns find. Run by a Python that has pygrok.

    grokcount.py PATTERN-FILE < LINES      one text of a log line a line, without its head

Prints a JSON object {text: [pattern, {name: value}]}; a text that no pattern matches is
missing there.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import pygrok

# Patterns that are parts of others.
PARTS = {"PS_CLIENT", "PS_DSN", "PS_LIST_NEW", "PS_LIST_OLD", "PS_STAGE", "PS_ENVELOPE"}


def main() -> None:
    content = Path(sys.argv[1]).read_text()
    names = re.findall(r"^(\w+) ", content, re.M)
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "patterns").write_text(content)
        groks = {name: pygrok.Grok(f"^%{{{name}}}$", custom_patterns_dir=directory)
                 for name in names if name not in PARTS}
    found = {}
    for text in sys.stdin.read().split("\n"):
        for name, grok in groks.items():
            if (values := grok.match(text)) is not None:
                found[text] = [name, values]
                break
    json.dump({"patterns": sorted(groks), "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
