#!/usr/bin/python3
"""A program with the manners of `lean`, for tests of everything around it. It proves nothing: words in the source say
what it is to do.

    bad        an error in that line                    hole       a declaration that is not proved
    leftover   a goal that is left                      assume     an axiom beyond the three
    other      another statement than the pinned one    spin, hog, shout, crash    what they say
    peek       tells what it can reach of the machine
"""

import json
import os
import re
import socket
import sys


def say(severity, line, data, column=2):
    place = {"line": line, "column": column}
    print(json.dumps({"severity": severity, "pos": place, "endPos": place, "data": data, "fileName": "x"}), flush=True)


def peek():
    seen = [name for name in ("/root", "/home", "/etc/passwd", "/work/../etc/shadow") if os.path.exists(name)]
    try:
        socket.create_connection(("127.0.0.1", 1), timeout=1)
    except OSError as error:
        seen.append(f"network: {error.errno}")
    return {"seen": seen, "processes": len([name for name in os.listdir("/proc") if name.isdigit()])}


def misbehave(source):
    if re.search(r"\bspin\b", source):
        while True:
            pass
    if re.search(r"\bhog\b", source):
        _ = bytearray(1 << 40)
    if re.search(r"\bshout\b", source):
        while True:
            print("x" * 65536)
    if re.search(r"\bcrash\b", source):
        os.abort()


def elaborate(source):
    """Messages about the lines; 1 where one is an error."""
    status = 0
    for number, line in enumerate(source.splitlines(), 1):
        if re.search(r"\bbad\b", line) or line.startswith("import Mathlib"):
            say("error", number, "unknown module prefix 'Mathlib'" if "Mathlib" in line else "unsolved: bad", 0)
            status = 1
        if re.search(r"\bleftover\b", line):
            by = next(n for n, text in enumerate(source.splitlines(), 1) if ":= by" in text and n <= number)
            say("error", by, "unsolved goals\nn : Nat\n⊢ n = n\n\ncase right\n⊢ True")
            status = 1
        if re.search(r"\b(hole|sorry)\b", line):
            say("warning", number, "declaration uses 'sorry'")
        if re.search(r"\bpeek\b", line):
            say("info", number, json.dumps(peek()))
    return status


def audit(source):
    with open("Candidate.olean") as file:
        seen = json.load(file)
    seal = re.search(r"#print axioms (\w+)", source)[1]
    if "other" in seen["words"]:
        say("error", 3, "type mismatch")
        return 1
    axioms = ["propext", *(["Cheat.axiom"] if "assume" in seen["words"] else [])]
    say("info", 6, f"'{seal}' depends on axioms: [{', '.join(axioms)}]", 0)
    return 0


def main():
    arguments = sys.argv[1:]
    file = next(name for name in arguments if name.endswith(".lean"))
    with open(file) as handle:
        source = handle.read()
    if "import Candidate" in source:
        sys.exit(audit(source))
    misbehave(source)
    status = elaborate(source)
    if "-o" in arguments and status == 0:
        with open(arguments[arguments.index("-o") + 1], "w") as handle:
            json.dump({"words": re.findall(r"\w+", source)}, handle)
    sys.exit(status)


main()
