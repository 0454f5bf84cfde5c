"""Questions about a list: sums of ranges, ranks, pairs, sums of rectangles."""

from __future__ import annotations

import random

from environments.code_tests.families.base import SIZES, Family, Params, line, numbers, size


def _draw(rng: random.Random, level: int) -> Params:
    return {"limit": SIZES[level], "high": rng.choice((20, 100, 1000, 10**6)), "extra": rng.randint(2, 97)}


def _tell_ranges(p: Params) -> str:
    return (
        "A row of n numbers is given, and q questions l r. For each question print the sum of the numbers from "
        "place l to "
        f"place r (places count from 1), modulo {p['extra']}.\n\n"
        f"Input: n and q; then the n numbers; then q lines with l and r. 1 <= n, q <= {p['limit']}, numbers from "
        f"-{p['high']} to {p['high']}, 1 <= l <= r <= n.\n"
        "Output: q lines, each a remainder that is not negative."
    )


def _case_ranges(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"])
    q = n if kind == "large" else rng.randint(1, min(6, p["limit"]))
    rows = [line(n, q), line(*numbers(rng, n, -p["high"], p["high"]))]
    for _ in range(q):
        left, right = sorted((rng.randint(1, n), rng.randint(1, n)))
        rows.append(
            line(left, right) if kind != "large" else line(rng.randint(1, 1 + n // 4), n - rng.randint(0, n // 4))
        )
    return "\n".join(rows) + "\n"


def ranges(text: str, extra: int) -> str:
    data = list(map(int, text.split()))
    n, q = data[0], data[1]
    sums = [0]
    for value in data[2 : 2 + n]:
        sums.append(sums[-1] + value)
    asked = data[2 + n :]
    return "\n".join(str((sums[asked[2 * i + 1]] - sums[asked[2 * i] - 1]) % extra) for i in range(q))


def ranges_slow(text: str, extra: int) -> str:
    rows = text.split("\n")
    row = list(map(int, rows[1].split()))
    answers = []
    for question in rows[2:]:
        if question:
            left, right = map(int, question.split())
            total = 0
            for place in range(left - 1, right):
                total += row[place]
            answers.append(str(total % extra))
    return "\n".join(answers)


RANGES = Family(
    name="range_sums",
    levels=(1, 2, 3, 4),
    draw=_draw,
    tell=_tell_ranges,
    case=_case_ranges,
    solve=ranges,
    brute=ranges_slow,
    slips=(("asked[2 * i] - 1]", "asked[2 * i]]"), (") % extra)", ") % (extra + 1))")),
    constants=("extra",),
)


def _draw_ranks(rng: random.Random, level: int) -> Params:
    params = _draw(rng, level)
    return {**params, "extra": rng.randint(2, max(3, min(97, params["high"] // 3)))}


def _tell_ranks(p: Params) -> str:
    return (
        "n numbers are given, and q questions x. For each question print how many of the numbers are less than x "
        "and at "
        f"least x - {p['extra']}.\n\n"
        f"Input: n and q; then the n numbers; then the q values x, all on one line. 1 <= n, q <= {p['limit']}, "
        "numbers and "
        f"questions from 0 to {p['high']}.\n"
        "Output: q lines."
    )


def _case_ranks(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"])
    q = n if kind == "large" else rng.randint(1, min(6, p["limit"]))
    row = numbers(rng, n, 0, p["high"])
    near = [min(p["high"], rng.choice(row) + rng.choice((0, 1, p["extra"], p["extra"] + 1))) for _ in range(q)]
    return "\n".join((line(n, q), line(*row), line(*near))) + "\n"


def ranks(text: str, extra: int) -> str:
    from bisect import bisect_left

    data = list(map(int, text.split()))
    n = data[0]
    row = sorted(data[2 : 2 + n])
    return "\n".join(str(bisect_left(row, x) - bisect_left(row, x - extra)) for x in data[2 + n :])


def ranks_slow(text: str, extra: int) -> str:
    data = list(map(int, text.split()))
    n = data[0]
    row = data[2 : 2 + n]
    return "\n".join(str(sum(1 for value in row if x - extra <= value < x)) for x in data[2 + n :])


RANKS = Family(
    name="rank_queries",
    levels=(1, 2, 3, 4),
    draw=_draw_ranks,
    tell=_tell_ranks,
    case=_case_ranks,
    solve=ranks,
    brute=ranks_slow,
    slips=(
        ("bisect_left(row, x) -", "bisect_left(row, x + 1) -"),
        ("x - extra))", "x - extra + 1))"),
        ("sorted(", "list("),
    ),
    constants=("extra",),
)


def _tell_pairs(p: Params) -> str:
    return (
        f"n numbers are given. Print how many pairs i < j there are whose numbers add up to at most {p['sum']}.\n\n"
        f"Input: n; then the n numbers on one line. 2 <= n <= {p['limit']}, numbers from -{p['high']} to {p['high']}.\n"
        "Output: one number."
    )


def _draw_pairs(rng: random.Random, level: int) -> Params:
    params = _draw(rng, level)
    return {**params, "sum": rng.randint(-params["high"] // 2, params["high"] // 2)}


def _case_pairs(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"], 2)
    row = numbers(rng, n, -p["high"], p["high"])
    for place in range(1, n, 2):
        if rng.random() < 0.4:
            row[place] = max(-p["high"], min(p["high"], p["sum"] - row[place - 1]))
    return f"{n}\n{line(*row)}\n"


def pairs(text: str, sum: int) -> str:
    row = sorted(map(int, text.split()[1:]))
    low, high, count = 0, len(row) - 1, 0
    while low < high:
        if row[low] + row[high] <= sum:
            count += high - low
            low += 1
        else:
            high -= 1
    return str(count)


def pairs_slow(text: str, sum: int) -> str:
    row = list(map(int, text.split()[1:]))
    count = 0
    for i in range(len(row)):
        for j in range(i):
            if row[i] + row[j] <= sum:
                count += 1
    return str(count)


PAIRS = Family(
    name="pair_sums",
    levels=(1, 2, 3, 4),
    draw=_draw_pairs,
    tell=_tell_pairs,
    case=_case_pairs,
    solve=pairs,
    brute=pairs_slow,
    slips=(("<= sum", "< sum"), ("count += high - low", "count += 1")),
    constants=("sum",),
)


def _draw_rectangles(rng: random.Random, level: int) -> Params:
    return {
        "limit": {2: 6, 3: 20, 5: 200}[level],
        "asked": {2: 6, 3: 100, 5: 10_000}[level],
        "mark": rng.choice("#*@%ox"),
    }


def _tell_rectangles(p: Params) -> str:
    return (
        f"A grid of h rows and w columns is drawn with '.' and '{p['mark']}'. Answer q questions a b c d: how many "
        f"'{p['mark']}' are there in rows a to c and columns b to d, the borders included?\n\n"
        f"Input: h, w and q; then h lines of the grid; then q lines with a, b, c and d. 1 <= h, w <= {p['limit']}, "
        f"1 <= q <= {p['asked']}, 1 <= a <= c <= h, 1 <= b <= d <= w.\n"
        "Output: q lines."
    )


def _case_rectangles(rng: random.Random, p: Params, kind: str) -> str:
    h, w = size(rng, kind, p["limit"]), size(rng, kind, p["limit"])
    q = p["asked"] if kind == "large" else rng.randint(1, 5)
    rows = [line(h, w, q)]
    rows += ["".join(rng.choice("." + p["mark"]) for _ in range(w)) for _ in range(h)]
    for _ in range(q):
        a, c = sorted((rng.randint(1, h), rng.randint(1, h)))
        b, d = sorted((rng.randint(1, w), rng.randint(1, w)))
        rows.append(line(a, b, c, d) if kind != "large" else line(1 + a // 3, 1 + b // 3, h - a // 3, w - b // 3))
    return "\n".join(rows) + "\n"


def rectangles(text: str, mark: str) -> str:
    words = text.split()
    h, w, q = int(words[0]), int(words[1]), int(words[2])
    sums = [[0] * (w + 1)]
    for row in words[3 : 3 + h]:
        above, here, run = sums[-1], [0], 0
        for column, cell in enumerate(row):
            run += cell == mark
            here.append(above[column + 1] + run)
        sums.append(here)
    asked = list(map(int, words[3 + h :]))
    out = []
    for i in range(q):
        a, b, c, d = asked[4 * i : 4 * i + 4]
        out.append(str(sums[c][d] - sums[a - 1][d] - sums[c][b - 1] + sums[a - 1][b - 1]))
    return "\n".join(out)


def rectangles_slow(text: str, mark: str) -> str:
    words = text.split()
    h, q = int(words[0]), int(words[2])
    grid = words[3 : 3 + h]
    out = []
    for i in range(q):
        a, b, c, d = map(int, words[3 + h + 4 * i : 7 + h + 4 * i])
        out.append(str(sum(1 for row in range(a - 1, c) for column in range(b - 1, d) if grid[row][column] == mark)))
    return "\n".join(out)


RECTANGLES = Family(
    name="rectangle_counts",
    levels=(2, 3, 5),
    draw=_draw_rectangles,
    tell=_tell_rectangles,
    case=_case_rectangles,
    solve=rectangles,
    brute=rectangles_slow,
    slips=((" + sums[a - 1][b - 1]", ""), ("- sums[a - 1][d]", "- sums[a][d]")),
    constants=("mark",),
)

ALL = (RANGES, RANKS, PAIRS, RECTANGLES)
