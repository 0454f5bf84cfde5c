"""Number theory, text, and simulations."""

from __future__ import annotations

import random

from environments.code_tests.families.base import SIZES, Family, Params, line, numbers, size


def _draw_primes(rng: random.Random, level: int) -> Params:
    high, asked = {1: (50, 3), 2: (500, 10), 3: (5000, 50), 4: (100_000, 2000)}[level]
    return {"high": high, "asked": asked, "digit": rng.choice((1, 3, 7, 9)), "least": rng.randint(0, 9)}


def _tell_primes(p: Params) -> str:
    return (
        "For each question l r print how many prime numbers from l to r, both included, end with the digit "
        f"{p['digit']} or "
        f"are less than {p['least'] + 2}.\n\n"
        f"Input: q; then q lines with l and r. 1 <= q <= {p['asked']}, 1 <= l <= r <= {p['high']}.\nOutput: q lines."
    )


def _case_primes(rng: random.Random, p: Params, kind: str) -> str:
    high = p["high"] if kind in ("large", "random") else min(40, p["high"])
    q = p["asked"] if kind == "large" else rng.randint(1, min(4, p["asked"]))
    rows = [str(q)]
    for _ in range(q):
        left, right = sorted((rng.randint(1, high), rng.randint(1, high)))
        rows.append(line(1, p["least"] + 2) if kind == "edge" else line(left, right))
    return "\n".join(rows) + "\n"


def primes(text: str, digit: int, least: int) -> str:
    data = list(map(int, text.split()))[1:]
    top = max(data)
    prime = bytearray([1]) * (top + 1)
    prime[0:2] = b"\0\0"[: top + 1]
    for n in range(2, int(top**0.5) + 1):
        if prime[n]:
            prime[n * n :: n] = bytes(len(range(n * n, top + 1, n)))
    counts = [0]
    for n in range(1, top + 1):
        counts.append(counts[-1] + (prime[n] and (n % 10 == digit or n < least + 2)))
    return "\n".join(str(counts[right] - counts[left - 1]) for left, right in zip(data[::2], data[1::2], strict=False))


def primes_slow(text: str, digit: int, least: int) -> str:
    data = list(map(int, text.split()))[1:]
    out = []
    for left, right in zip(data[::2], data[1::2], strict=False):
        count = 0
        for n in range(max(left, 2), right + 1):
            if (n % 10 == digit or n < least + 2) and all(n % d for d in range(2, int(n**0.5) + 1)):
                count += 1
        out.append(str(count))
    return "\n".join(out)


PRIMES = Family(
    name="prime_counts",
    levels=(1, 2, 3, 4),
    draw=_draw_primes,
    tell=_tell_primes,
    case=_case_primes,
    solve=primes,
    brute=primes_slow,
    slips=(("counts[left - 1]", "counts[left]"), ("digit or n <", "digit and n <")),
    constants=("digit", "least"),
)


def _draw_divisors(rng: random.Random, level: int) -> Params:
    return {
        "high": {1: 100, 2: 10**4, 3: 10**6, 5: 10**12}[level],
        "power": rng.randint(0, 2),
        "mod": rng.randint(50, 10**6),
    }


def _tell_divisors(p: Params) -> str:
    what = ("how many divisors n has", "the sum of the divisors of n", "the sum of the squares of the divisors of n")[
        p["power"]
    ]
    return (
        f"Print {what}, modulo {p['mod']}. 1 and n are divisors too.\n\n"
        f"Input: n. 1 <= n <= {p['high']}.\nOutput: one number."
    )


def _case_divisors(rng: random.Random, p: Params, kind: str) -> str:
    if kind == "large":
        side = int(p["high"] ** 0.5)
        return f"{side * side if rng.random() < 0.5 else rng.randint(p['high'] - 99, p['high'])}\n"
    if kind == "edge":
        return f"{rng.choice((1, 2, 36))}\n"
    return f"{rng.randint(1, min(100, p['high']))}\n"


def divisors(text: str, power: int, mod: int) -> str:
    n = int(text)
    total, d = 0, 1
    while d * d <= n:
        if n % d == 0:
            total += d**power
            if d != n // d:
                total += (n // d) ** power
        d += 1
    return str(total % mod)


def divisors_slow(text: str, power: int, mod: int) -> str:
    n = int(text)
    total = 0
    for d in range(1, n + 1):
        if n % d == 0:
            total += d**power
    return str(total % mod)


DIVISORS = Family(
    name="divisors",
    levels=(1, 2, 3, 5),
    draw=_draw_divisors,
    tell=_tell_divisors,
    case=_case_divisors,
    solve=divisors,
    brute=divisors_slow,
    slips=(("d * d <= n", "d * d < n"), ("if d != n // d:", "if True:")),
    constants=("power", "mod"),
)


def _draw_period(rng: random.Random, level: int) -> Params:
    return {"limit": {1: 8, 2: 50, 3: 500, 5: 20_000}[level], "letters": "".join(rng.sample("abcdefghij", 2))}


def _tell_period(p: Params) -> str:
    return (
        "A word is said to have the period k when every letter equals the one k places after it, wherever there is "
        "one. (So "
        "the length of the word is a period.) Print the smallest period of the word, and how many periods from 1 to "
        "its "
        "length it has.\n\n"
        f"Input: one word of the letters {p['letters'][0]} and {p['letters'][1]}, at most {p['limit']} of them.\n"
        "Output: two numbers in one line."
    )


def _case_period(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"])
    a, b = p["letters"]
    if kind == "large":
        return (a * (n - 1) + b if rng.random() < 0.3 else (a * (n // 2 - 1) + b + a * n)[:n]) + "\n"
    weights = (3, 1) if rng.random() < 0.5 else (1, 1)
    unit = "".join(rng.choices(p["letters"], weights, k=rng.randint(1, max(1, n if kind == "random" else n // 2))))
    word = (unit * n)[:n]
    if rng.random() < 0.3:
        word = word[:-1] + rng.choice(p["letters"])
    return word + "\n"


def period(text: str) -> str:
    word = text.strip()
    border = [0] * (len(word) + 1)
    k = 0
    for i in range(1, len(word)):
        while k and word[i] != word[k]:
            k = border[k]
        if word[i] == word[k]:
            k += 1
        border[i + 1] = k
    count, k = 1, border[len(word)]
    while k:
        count += 1
        k = border[k]
    return f"{len(word) - border[len(word)]} {count}"


def period_slow(text: str) -> str:
    word = text.strip()
    found = []
    for k in range(1, len(word) + 1):
        fits = True
        for i in range(len(word) - k):
            if word[i] != word[i + k]:
                fits = False
                break
        if fits:
            found.append(k)
    return f"{found[0]} {len(found)}"


PERIOD = Family(
    name="word_periods",
    levels=(1, 2, 3, 5),
    draw=_draw_period,
    tell=_tell_period,
    case=_case_period,
    solve=period,
    brute=period_slow,
    slips=(
        (
            "while k and word[i] != word[k]:\n            k = border[k]",
            "if k and word[i] != word[k]:\n            k = 0",
        ),
        ("count, k = 1,", "count, k = 0,"),
    ),
)


def _draw_circle(rng: random.Random, level: int) -> Params:
    return {"limit": {1: 8, 2: 50, 3: 500, 4: 300_000}[level], "step": rng.randint(2, 9), "first": rng.randint(1, 5)}


def _tell_circle(p: Params) -> str:
    return (
        "n players, numbered from 1, sit in a circle. Starting with player 1 they count: 1, 2, ... Who says "
        f"{p['step']} "
        "leaves, and the next one starts again with 1. Print the number of the player who stays to the end plus "
        f"{p['first']} times n.\n\nInput: n. 1 <= n <= {p['limit']}.\nOutput: one number."
    )


def _case_circle(rng: random.Random, p: Params, kind: str) -> str:
    return f"{size(rng, kind, p['limit']) if kind != 'large' else p['limit'] - rng.randint(0, 3)}\n"


def circle(text: str, step: int, first: int) -> str:
    n = int(text)
    place = 0
    for players in range(2, n + 1):
        place = (place + step) % players
    return str(place + 1 + first * n)


def circle_slow(text: str, step: int, first: int) -> str:
    n = int(text)
    players = list(range(1, n + 1))
    while len(players) > 1:
        for _ in range(step - 1):
            players.append(players.pop(0))
        players.pop(0)
    return str(players[0] + first * n)


CIRCLE = Family(
    name="counting_out",
    levels=(1, 2, 3, 4),
    draw=_draw_circle,
    tell=_tell_circle,
    case=_case_circle,
    solve=circle,
    brute=circle_slow,
    slips=(("range(2, n + 1)", "range(2, n)"), ("place + 1 +", "place +")),
    constants=("step", "first"),
)


def _draw_windows(rng: random.Random, level: int) -> Params:
    return {"limit": SIZES[level], "high": rng.choice((9, 100, 10**6)), "largest": rng.random() < 0.5}


def _tell_windows(p: Params) -> str:
    which = "largest" if p["largest"] else "smallest"
    return (
        f"A sensor writes n values. Print the {which} value among each k values in a row: those from 1 to k, from 2 "
        "to k + 1, "
        f"and so on.\n\nInput: n and k; then the n values on one line. 1 <= k <= n <= {p['limit']}, values from "
        f"-{p['high']} "
        f"to {p['high']}.\nOutput: n - k + 1 numbers in one line."
    )


def _case_windows(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"])
    k = n // 2 if kind == "large" else rng.randint(1, n)
    row = numbers(rng, n, -p["high"], p["high"])
    return f"{line(n, max(1, k))}\n{line(*row)}\n"


def windows(text: str, largest: bool) -> str:
    from collections import deque

    data = list(map(int, text.split()))
    k, row = data[1], data[2:]
    sign = 1 if largest else -1
    kept: deque[int] = deque()
    out = []
    for i, value in enumerate(row):
        while kept and row[kept[-1]] * sign <= value * sign:
            kept.pop()
        kept.append(i)
        if kept[0] <= i - k:
            kept.popleft()
        if i >= k - 1:
            out.append(str(row[kept[0]]))
    return " ".join(out)


def windows_slow(text: str, largest: bool) -> str:
    data = list(map(int, text.split()))
    k, row = data[1], data[2:]
    out = []
    for start in range(len(row) - k + 1):
        best = row[start]
        for value in row[start : start + k]:
            if (value > best) == largest and value != best:
                best = value
        out.append(str(best))
    return " ".join(out)


WINDOWS = Family(
    name="sliding_windows",
    levels=(1, 2, 3, 4),
    draw=_draw_windows,
    tell=_tell_windows,
    case=_case_windows,
    solve=windows,
    brute=windows_slow,
    slips=(("1 if largest else -1", "-1 if largest else 1"), ("<= i - k", "< i - k")),
    constants=("largest",),
)

ALL = (PRIMES, DIVISORS, PERIOD, CIRCLE, WINDOWS)
