"""Problems where any of several answers is right: a checker reads the answer, it is not compared with ours."""

from __future__ import annotations

import random

from environments.code_tests.families.base import SIZES, Family, Params, line, numbers, size

_WHAT = ("tasks", "courses", "jobs", "recipes", "chapters", "repairs", "songs", "scenes")


def _integers(output: str, most: int) -> list[int] | None:
    """The output as at most so many integers, or None where it is anything else."""
    words = output.split(maxsplit=most + 1)
    if len(words) > most or not all(word.lstrip("-").isascii() and word.lstrip("-").isdigit() for word in words):
        return None
    return [int(word) for word in words if len(word) < 20] if all(len(word) < 20 for word in words) else None


def _draw_order(rng: random.Random, level: int) -> Params:
    return {"limit": {1: 5, 2: 30, 3: 300, 5: 5000}[level], "what": rng.choice(_WHAT)}


def _tell_order(p: Params) -> str:
    return (
        f"There are n {p['what']}, numbered from 1, and m rules a b: number a must come before number b. Print an "
        "order of all "
        "of them that keeps every rule; any such order is right. Print IMPOSSIBLE when there is none.\n\n"
        f"Input: n and m; then m lines with a and b. 1 <= n <= {p['limit']}, 0 <= m <= 2n.\n"
        "Output: n numbers in one line, or IMPOSSIBLE."
    )


def _case_order(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"])
    places = rng.sample(range(1, n + 1), n)
    rules = []
    for _ in range(2 * n if kind == "large" else rng.randint(0, 2 * n)):
        i, j = rng.randrange(n), rng.randrange(n)
        if i != j:
            rules.append((places[min(i, j)], places[max(i, j)]))
    if n > 1 and kind != "large" and rng.random() < 0.3:
        rules = [*rules[: 2 * n - 2], (1, 2), (2, 1)]
    return "\n".join([line(n, len(rules)), *(line(a, b) for a, b in rules)]) + "\n"


def order(text: str) -> str:
    data = list(map(int, text.split()))
    n = data[0]
    after: list[list[int]] = [[] for _ in range(n + 1)]
    waits = [0] * (n + 1)
    for a, b in zip(data[2::2], data[3::2], strict=False):
        after[a].append(b)
        waits[b] += 1
    ready = [k for k in range(1, n + 1) if not waits[k]]
    for k in ready:
        for other in after[k]:
            waits[other] -= 1
            if not waits[other]:
                ready.append(other)
    return " ".join(map(str, ready)) if len(ready) == n else "IMPOSSIBLE"


def order_slow(text: str) -> str:
    data = list(map(int, text.split()))
    n = data[0]
    rules = list(zip(data[2::2], data[3::2], strict=False))
    left = list(range(n, 0, -1))
    out: list[int] = []
    while left:
        for k in left:
            if not any(b == k and a in left for a, b in rules):
                left.remove(k)
                out.append(k)
                break
        else:
            return "IMPOSSIBLE"
    return " ".join(map(str, out))


def check_order(given: str, output: str, reference: str) -> bool:
    """All numbers once, every rule kept; IMPOSSIBLE exactly where the reference says so."""
    if reference == "IMPOSSIBLE" or output.strip() == "IMPOSSIBLE":
        return output.strip() == reference
    data = list(map(int, given.split()))
    said = _integers(output, data[0])
    if said is None or sorted(said) != list(range(1, data[0] + 1)):
        return False
    place = {k: number for number, k in enumerate(said)}
    return all(place[a] < place[b] for a, b in zip(data[2::2], data[3::2], strict=False))


ORDER = Family(
    name="any_order",
    levels=(1, 2, 3, 5),
    draw=_draw_order,
    tell=_tell_order,
    case=_case_order,
    solve=order,
    brute=order_slow,
    slips=(
        ("after[a].append(b)\n        waits[b] += 1", "after[b].append(a)\n        waits[a] += 1"),
        ('"IMPOSSIBLE"', '"-1"'),
    ),
    check=check_order,
)


def _draw_two(rng: random.Random, level: int) -> Params:
    high = rng.choice((50, 1000, 10**6))
    return {"limit": SIZES[level], "high": high, "gap": rng.randint(1, high)}


def _tell_two(p: Params) -> str:
    return (
        "n numbers are given. Find two places i < j (places count from 1) whose numbers differ by exactly "
        f"{p['gap']}; any such "
        "pair is right. Print -1 when there is none.\n\n"
        f"Input: n; then the n numbers on one line. 2 <= n <= {p['limit']}, numbers from 0 to {2 * p['high']}.\n"
        "Output: i and j in one line, or -1."
    )


def _case_two(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"], 2)
    row = numbers(rng, n, 0, 2 * p["high"])
    if kind == "large":
        row = [value - value % (2 * p["gap"]) for value in row]
        if p["gap"] * 2 > p["high"]:
            row = numbers(rng, n, 0, p["gap"] - 1)
    if kind in ("tiny", "random") and rng.random() < 0.7:
        row[-1] = rng.randint(0, p["high"])
        row[0] = row[-1] + p["gap"]
    return f"{n}\n{line(*row)}\n"


def two(text: str, gap: int) -> str:
    row = list(map(int, text.split()[1:]))
    seen: dict[int, int] = {}
    for j, value in enumerate(row, 1):
        for wanted in (value - gap, value + gap):
            if wanted in seen:
                return f"{seen[wanted]} {j}"
        seen[value] = j
    return "-1"


def two_slow(text: str, gap: int) -> str:
    row = list(map(int, text.split()[1:]))
    for i in range(len(row)):
        for j in range(i + 1, len(row)):
            if abs(row[i] - row[j]) == gap:
                return f"{i + 1} {j + 1}"
    return "-1"


def check_two(given: str, output: str, reference: str) -> bool:
    """A pair of places in order whose numbers differ by as much as the reference's; -1 exactly where that says so."""
    said = _integers(output, 2)
    if said is None or reference == "-1" or said == [-1]:
        return said == [-1] and reference == "-1"
    row = list(map(int, given.split()[1:]))
    i, j = map(int, reference.split())
    gap = abs(row[i - 1] - row[j - 1])
    return len(said) == 2 and 1 <= said[0] < said[1] <= len(row) and abs(row[said[0] - 1] - row[said[1] - 1]) == gap


TWO = Family(
    name="any_pair",
    levels=(1, 2, 3, 4),
    draw=_draw_two,
    tell=_tell_two,
    case=_case_two,
    solve=two,
    brute=two_slow,
    slips=(("(value - gap, value + gap)", "(value - gap,)"), ("enumerate(row, 1)", "enumerate(row, 0)")),
    constants=("gap",),
    check=check_two,
)

ALL = (ORDER, TWO)
