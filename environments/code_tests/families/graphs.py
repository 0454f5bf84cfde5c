"""Grids and graphs: shortest ways, parts that hang together, orders."""

from __future__ import annotations

import random

from environments.code_tests.families.base import Family, Params, line, size


def _draw_maze(rng: random.Random, level: int) -> Params:
    return {"limit": {2: 6, 3: 20, 5: 120}[level], "diagonal": rng.random() < 0.5, "wall": rng.choice("#X@")}


def _tell_maze(p: Params) -> str:
    moves = "one of the eight cells around it" if p["diagonal"] else "the cell above, below, left or right"
    return (
        f"A map has h rows of w cells: '.' is free, '{p['wall']}' is a wall. A step goes from a free cell to "
        f"{moves}, when "
        "that is free too. Print the least number of steps from the top left cell to the bottom right one, or -1 when "
        "there is no way. Both cells are free.\n\n"
        f"Input: h and w; then h lines. 1 <= h, w <= {p['limit']}.\nOutput: one number."
    )


def _case_maze(rng: random.Random, p: Params, kind: str) -> str:
    h, w = size(rng, kind, p["limit"]), size(rng, kind, p["limit"])
    share = rng.choice((0.2, 0.35)) if kind != "large" else 0.25
    grid = [[p["wall"] if rng.random() < share else "." for _ in range(w)] for _ in range(h)]
    grid[0][0] = grid[-1][-1] = "."
    return "\n".join([line(h, w), *("".join(row) for row in grid)]) + "\n"


def maze(text: str, diagonal: bool) -> str:
    words = text.split()
    h, w, grid = int(words[0]), int(words[1]), words[2:]
    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    if diagonal:
        moves += [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    seen = [[False] * w for _ in range(h)]
    seen[0][0] = True
    steps, front = 0, [(0, 0)]
    while front:
        if seen[h - 1][w - 1]:
            return str(steps)
        steps += 1
        coming = []
        for row, column in front:
            for down, right in moves:
                r, c = row + down, column + right
                if 0 <= r < h and 0 <= c < w and grid[r][c] == "." and not seen[r][c]:
                    seen[r][c] = True
                    coming.append((r, c))
        front = coming
    return "-1"


def maze_slow(text: str, diagonal: bool) -> str:
    words = text.split()
    h, w, grid = int(words[0]), int(words[1]), words[2:]
    far = h * w + 1
    steps = [[far] * w for _ in range(h)]
    steps[0][0] = 0
    for _ in range(h * w):
        changed = False
        for r in range(h - 1, -1, -1):
            for c in range(w - 1, -1, -1):
                for y in range(max(0, r - 1), min(h, r + 2)):
                    for x in range(max(0, c - 1), min(w, c + 2)):
                        near = diagonal or y == r or x == c
                        if near and grid[r][c] == "." == grid[y][x] and steps[y][x] + 1 < steps[r][c]:
                            steps[r][c] = steps[y][x] + 1
                            changed = True
        if not changed:
            break
    return str(steps[-1][-1] if steps[-1][-1] < far else -1)


MAZE = Family(
    name="maze",
    levels=(2, 3, 5),
    draw=_draw_maze,
    tell=_tell_maze,
    case=_case_maze,
    solve=maze,
    brute=maze_slow,
    slips=(
        ("if diagonal:", "if not diagonal:"),
        ('return "-1"', 'return "0"'),
        ("steps, front = 0,", "steps, front = 1,"),
    ),
    constants=("diagonal",),
)


def _draw_roads(rng: random.Random, level: int) -> Params:
    towns, roads = {2: (6, 12), 3: (60, 200), 5: (3000, 8000)}[level]
    return {"limit": towns, "roads": roads, "one_way": rng.random() < 0.5, "toll": rng.randint(0, 20)}


def _tell_roads(p: Params) -> str:
    way = "can be driven from a to b only" if p["one_way"] else "can be driven both ways"
    return (
        f"n towns are joined by m roads; each {way} and takes t minutes. Every town that is entered on the way costs "
        f"{p['toll']} minutes more, the last one too. Print the least number of minutes from town 1 to town n, or -1 "
        "when it "
        "cannot be reached.\n\n"
        f"Input: n and m; then m lines with a, b and t. 2 <= n <= {p['limit']}, 1 <= m <= {p['roads']}, 1 <= t <= "
        "1000.\n"
        "Output: one number."
    )


def _case_roads(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"], 2)
    m = p["roads"] if kind == "large" else rng.randint(max(1, n - 2), min(p["roads"], 2 * n))
    rows = [line(n, m)]
    for number in range(m):
        a = number % (n - 1) + 1 if kind == "large" and number < n else rng.randint(1, n)
        b = a + 1 if kind == "large" and number < n else rng.randint(1, n)
        rows.append(line(a, b, rng.randint(1, 1000 if kind == "large" else 30)))
    return "\n".join(rows) + "\n"


def roads(text: str, one_way: bool, toll: int) -> str:
    from heapq import heappop, heappush

    data = list(map(int, text.split()))
    n = data[0]
    near: list[list[tuple[int, int]]] = [[] for _ in range(n + 1)]
    for a, b, t in zip(data[2::3], data[3::3], data[4::3], strict=False):
        near[a].append((b, t + toll))
        if not one_way:
            near[b].append((a, t + toll))
    best = [10**15] * (n + 1)
    best[1] = 0
    heap = [(0, 1)]
    while heap:
        spent, town = heappop(heap)
        if spent > best[town]:
            continue
        for other, t in near[town]:
            if spent + t < best[other]:
                best[other] = spent + t
                heappush(heap, (spent + t, other))
    return str(best[n] if best[n] < 10**15 else -1)


def roads_slow(text: str, one_way: bool, toll: int) -> str:
    data = list(map(int, text.split()))
    n = data[0]
    links = [(a, b, t + toll) for a, b, t in zip(data[2::3], data[3::3], data[4::3], strict=False)]
    if not one_way:
        links += [(b, a, t) for a, b, t in links]
    best: dict[int, int] = {1: 0}
    for _ in range(n):
        for a, b, t in reversed(links):
            if a in best and best[a] + t < best.get(b, best[a] + t + 1):
                best[b] = best[a] + t
    return str(best.get(n, -1))


ROADS = Family(
    name="roads",
    levels=(2, 3, 5),
    draw=_draw_roads,
    tell=_tell_roads,
    case=_case_roads,
    solve=roads,
    brute=roads_slow,
    slips=(("if not one_way:", "if one_way:"), ("near[a].append((b, t + toll))", "near[a].append((b, t + toll + 1))")),
    constants=("one_way", "toll"),
)


def _draw_groups(rng: random.Random, level: int) -> Params:
    limit = {1: 6, 2: 40, 3: 300, 4: 20_000}[level]
    return {"limit": limit, "who": rng.choice(("islands", "servers", "villages", "rooms", "stations", "farms"))}


def _tell_groups(p: Params) -> str:
    return (
        f"There are n {p['who']}, numbered from 1, at first none joined with another. m links are built one after "
        "another, "
        f"each between two of them. After each link print how many separate groups of {p['who']} there are.\n\n"
        f"Input: n and m; then m lines with a and b. 1 <= n, m <= {p['limit']}; a and b may be the same.\nOutput: m "
        "lines."
    )


def _case_groups(rng: random.Random, p: Params, kind: str) -> str:
    n = size(rng, kind, p["limit"])
    m = n if kind == "large" else rng.randint(1, min(p["limit"], 2 * n))
    return "\n".join([line(n, m), *(line(rng.randint(1, n), rng.randint(1, n)) for _ in range(m))]) + "\n"


def groups(text: str) -> str:
    data = list(map(int, text.split()))
    count = data[0]
    leader = list(range(count + 1))
    out = []
    for a, b in zip(data[2::2], data[3::2], strict=False):
        while leader[a] != a:
            leader[a] = a = leader[leader[a]]
        while leader[b] != b:
            leader[b] = b = leader[leader[b]]
        if a != b:
            leader[a] = b
            count -= 1
        out.append(str(count))
    return "\n".join(out)


def groups_slow(text: str) -> str:
    data = list(map(int, text.split()))
    colour = list(range(data[0] + 1))
    out = []
    for a, b in zip(data[2::2], data[3::2], strict=False):
        old, new = colour[a], colour[b]
        for place in range(len(colour)):
            if colour[place] == old:
                colour[place] = new
        seen = set()
        for place in range(1, len(colour)):
            seen.add(colour[place])
        out.append(str(len(seen)))
    return "\n".join(out)


GROUPS = Family(
    name="joined_groups",
    levels=(1, 2, 3, 4),
    draw=_draw_groups,
    tell=_tell_groups,
    case=_case_groups,
    solve=groups,
    brute=groups_slow,
    slips=(("if a != b:", "if True:"), ("leader[a] = b\n", "leader[a] = a\n")),
)

ALL = (MAZE, ROADS, GROUPS)
