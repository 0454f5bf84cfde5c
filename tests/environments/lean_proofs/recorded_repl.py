"""A REPL that only knows one recorded exchange: it wants the commands in order and gives the answers to them.

python recorded_repl.py NAME.in NAME.expected.out
"""

import json
import re
import sys
from pathlib import Path


def blocks(text):
    return [block for block in re.split(r"\n\s*\n", text) if block.strip()]


def main():
    wanted = [json.loads(block.replace("\n", "")) for block in blocks(Path(sys.argv[1]).read_text())]
    answers = blocks(Path(sys.argv[2]).read_text())
    said = []
    for line in sys.stdin:
        if line.strip():
            said.append(line.rstrip("\n"))
        elif said:
            command = json.loads("".join(said))
            said = []
            assert command == wanted.pop(0), command
            sys.stdout.write(answers.pop(0).strip() + "\n\n")
            sys.stdout.flush()


main()
