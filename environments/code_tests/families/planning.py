"""Choosing well: intervals, greedy schedules, knapsacks, increasing subsequences."""

from __future__ import annotations

import random

from environments.code_tests.families.base import SIZES, Family, Params, line, numbers, size

_ROOMS = ("a hall", "a court", "a studio", "a workshop", "a kitchen", "a stage", "a pool", "a lab")


def _draw_spans(rng: random.Random, level: int) -> Params:
    return {"limit": SIZES[level], "high": rng.choice((50, 1000, 10**6)), "room": rng.choice(_ROOMS)}


def _spans(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"])
    longest = max(2, 3 * p["high"] // (n + 1))
    rows = [str(n)]
    for _ in range(n):
        start = rng.randint(0, p["high"] - 1)
        rows.append(line(start, min(p["high"], start + rng.randint(1, longest))))
    if kind == "edge" and p["limit"] > 2:
        rows = ["3", line(0, 5), line(5, 9), line(5, 7)]
    return "\n".join(rows) + "\n"


def _span_input(p: Params) -> str:
    return (
        f"Input: n; then n lines with s and e. 1 <= n <= {p['limit']}, 0 <= s < e <= {p['high']}.\nOutput: one number."
    )


def _tell_covered(p: Params) -> str:
    return (
        f"n groups ask for {p['room']}, each from time s to time e. Print for how long at least one of them asks for "
        "it: "
        f"the length of all times that are covered.\n\n{_span_input(p)}"
    )


def covered(text: str) -> str:
    data = list(map(int, text.split()))
    spans = sorted(zip(data[1::2], data[2::2], strict=False))
    total, reached = 0, -1
    for start, end in spans:
        start = max(start, reached)
        if end > start:
            total += end - start
            reached = end
    return str(total)


def covered_slow(text: str) -> str:
    from itertools import pairwise

    data = list(map(int, text.split()))
    spans = list(zip(data[1::2], data[2::2], strict=False))
    marks = sorted(set(data[1:]))
    total = 0
    for low, high in pairwise(marks):
        for start, end in spans:
            if start <= low and high <= end:
                total += high - low
                break
    return str(total)


COVERED = Family(
    name="covered_time",
    levels=(1, 2, 3, 4),
    draw=_draw_spans,
    tell=_tell_covered,
    case=_spans,
    solve=covered,
    brute=covered_slow,
    slips=(("start = max(start, reached)", "pass"), ("sorted(zip(", "list(zip(")),
    slow_brute=False,
)


def _tell_meetings(p: Params) -> str:
    return (
        f"n groups ask for {p['room']}, each from time s to time e. Only one group at a time can have it; one may "
        "begin at "
        f"the moment when another ends. Print the largest number of groups that can be served.\n\n{_span_input(p)}"
    )


def meetings(text: str) -> str:
    data = list(map(int, text.split()))
    count, free = 0, 0
    for end, start in sorted(zip(data[2::2], data[1::2], strict=False)):
        if start >= free:
            count += 1
            free = end
    return str(count)


def meetings_slow(text: str) -> str:
    data = list(map(int, text.split()))
    spans = sorted(zip(data[1::2], data[2::2], strict=False))
    best = [0] * (len(spans) + 1)
    for i in range(len(spans) - 1, -1, -1):
        take = 1
        for j in range(i + 1, len(spans)):
            if spans[j][0] >= spans[i][1]:
                take = max(take, 1 + best[j])
        best[i] = max(best[i + 1], take)
    return str(best[0])


MEETINGS = Family(
    name="meetings",
    levels=(2, 3, 4),
    draw=_draw_spans,
    tell=_tell_meetings,
    case=_spans,
    solve=meetings,
    brute=meetings_slow,
    slips=(
        (">= free", "> free"),
        ("for end, start in sorted(", "for end, start in ("),
    ),
)


def _draw_knapsack(rng: random.Random, level: int) -> Params:
    n, load = {2: (8, 40), 3: (40, 400), 5: (100, 4000)}[level]
    return {"limit": n, "load": load, "thing": rng.choice(("crates", "parcels", "tools", "books", "stones", "lamps"))}


def _tell_knapsack(p: Params) -> str:
    return (
        f"A cart carries at most W kilograms. There are n {p['thing']}, each with a weight and a value, each there "
        "once. "
        "Print the largest total value that the cart can carry.\n\n"
        f"Input: n and W; then n lines with weight and value. 1 <= n <= {p['limit']}, 1 <= W <= {p['load']}, weights "
        "from "
        f"1 to {p['load']}, values from 1 to 1000.\nOutput: one number."
    )


def _case_knapsack(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"])
    load = p["load"] if kind == "large" else rng.randint(5, min(20, p["load"]))
    heavy = max(2, load // 4 if kind == "large" else load)
    rows = [line(n, load)]
    for _ in range(n):
        weight = rng.randint(1, heavy) if rng.random() < 0.9 else load
        rows.append(line(weight, rng.randint(1, 1000)))
    return "\n".join(rows) + "\n"


def knapsack(text: str) -> str:
    data = list(map(int, text.split()))
    load = data[1]
    best = [0] * (load + 1)
    for weight, value in zip(data[2::2], data[3::2], strict=False):
        for room in range(load, weight - 1, -1):
            if best[room - weight] + value > best[room]:
                best[room] = best[room - weight] + value
    return str(best[load])


def knapsack_slow(text: str) -> str:
    data = list(map(int, text.split()))
    things = list(zip(data[2::2], data[3::2], strict=False))

    def most(place: int, room: int) -> int:
        if place == len(things):
            return 0
        weight, value = things[place]
        without = most(place + 1, room)
        return without if weight > room else max(without, value + most(place + 1, room - weight))

    return str(most(0, data[1]))


KNAPSACK = Family(
    name="knapsack",
    levels=(2, 3, 5),
    draw=_draw_knapsack,
    tell=_tell_knapsack,
    case=_case_knapsack,
    solve=knapsack,
    brute=knapsack_slow,
    slips=(
        ("range(load, weight - 1, -1)", "range(weight, load + 1)"),
        ("range(load, weight", "range(load - 1, weight"),
    ),
)


def _draw_rising(rng: random.Random, level: int) -> Params:
    return {"limit": SIZES[level], "strict": rng.random() < 0.5, "high": rng.choice((30, 500, 10**6))}


def _tell_rising(p: Params) -> str:
    how = "each greater than the one before" if p["strict"] else "none less than the one before"
    return (
        f"n numbers are given. Some of them may be crossed out, the others stay in order. Print the largest number of "
        f"numbers that can stay so that they rise, {how}.\n\n"
        f"Input: n; then the n numbers on one line. 1 <= n <= {p['limit']}, numbers from 0 to {p['high']}.\n"
        "Output: one number."
    )


def _case_rising(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"])
    high = min(p["high"], 6) if kind in ("tiny", "random") else p["high"]
    row = numbers(rng, n, 0, high)
    if kind == "edge" and p["limit"] > 3:
        row = [high] * 3 + [0]
    return f"{len(row)}\n{line(*row)}\n"


def rising(text: str, strict: bool) -> str:
    from bisect import bisect_left, bisect_right

    ends: list[int] = []
    for value in map(int, text.split()[1:]):
        place = bisect_left(ends, value) if strict else bisect_right(ends, value)
        ends[place : place + 1] = [value]
    return str(len(ends))


def rising_slow(text: str, strict: bool) -> str:
    row = list(map(int, text.split()[1:]))
    best = [1] * len(row)
    for i in range(len(row)):
        for j in range(i):
            if row[j] < row[i] or (row[j] == row[i] and not strict):
                best[i] = max(best[i], best[j] + 1)
    return str(max(best))


RISING = Family(
    name="rising_subsequence",
    levels=(2, 3, 5),
    draw=_draw_rising,
    tell=_tell_rising,
    case=_case_rising,
    solve=rising,
    brute=rising_slow,
    slips=(("if strict else", "if not strict else"), ("[place : place + 1] =", "[place:] =")),
    constants=("strict",),
)

ALL = (COVERED, MEETINGS, KNAPSACK, RISING)
