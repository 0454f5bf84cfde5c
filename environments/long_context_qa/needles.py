"""Needles in one long text, after RULER (arXiv 2404.06654): one code, many keys, many values, many queries; variables
that are assigned to each other; the most frequent words. Scored as exact sets or lists: dumping wins nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from environments.long_context_qa import answers
from environments.long_context_qa.filler import sentences
from environments.long_context_qa.levels import Level
from environments.long_context_qa.tokens import Counter, fit, sentence_tokens
from environments.long_context_qa.words import COMMON, KEY_FIRSTS, KEY_SECONDS

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
OTHER_CODES = ("serial number", "locker number", "former access code", "customer number")
DECOYS = len(OTHER_CODES)
"""Numbers beside the codes, one of them of the first thing that is asked for."""

FREQUENT = 3
"""How many words of a stream are asked for."""

COMMONS = 5
"""How many common words are asked for."""


@dataclass(slots=True)
class Needle:
    """A task without documents: `write(n)` is the prompt up to the question for n items of about `each` tokens."""

    question: str
    answer: dict[str, Any]
    query: dict[str, Any]
    write: Callable[[int], str]
    each: float


def lay_out(needle: Needle, level: Level, ending: str, count: Counter) -> tuple[str, int]:
    """The prompt and its tokens. Raises `Crowded` where the budget cannot hold it."""
    tail = f"\n\nQUESTION: {needle.question}\n\n{ending}"
    return fit(lambda items: needle.write(items) + tail, level.tokens, count, needle.each)


# Codes in a text -------------------------------------------------------------------------------------------------


def single(rng: random.Random, level: Level, count: Counter) -> Needle:
    """One access code in the whole text, and a few numbers of other kinds."""
    return _lookup(rng, level, count, keys=1, asked=1, values=1)


def many_keys(rng: random.Random, level: Level, count: Counter) -> Needle:
    """Many codes, a tenth of the text; one is asked for."""
    return _lookup(rng, level, count, keys=max(4, level.tokens // 400), asked=1, values=1)


def many_values(rng: random.Random, level: Level, count: Counter) -> Needle:
    """Several codes of one key, which is asked for."""
    return _lookup(rng, level, count, keys=max(3, level.tokens // 1600), asked=1, values=_width(rng, level))


def many_queries(rng: random.Random, level: Level, count: Counter) -> Needle:
    """Several keys are asked for, in an order."""
    return _lookup(rng, level, count, keys=max(6, level.tokens // 800), asked=_width(rng, level), values=1)


def _lookup(rng: random.Random, level: Level, count: Counter, *, keys: int, asked: int, values: int) -> Needle:
    num = min(max(keys, asked), len(KEY_FIRSTS) * len(KEY_SECONDS) // 2)
    places = rng.sample(range(len(KEY_FIRSTS) * len(KEY_SECONDS)), num)
    names = [f"{KEY_FIRSTS[at % len(KEY_FIRSTS)]}-{KEY_SECONDS[at // len(KEY_FIRSTS)]}" for at in places]
    codes = [str(code) for code in rng.sample(range(1_000_000, 10_000_000), num + values - 1 + DECOYS)]
    others = [codes.pop() for _ in range(DECOYS)]
    pairs = [(names[0], code) for code in codes[:values]] + list(zip(names[1:], codes[values:], strict=True))
    wanted = names[:asked]
    rivals = others + [code for name, code in pairs if name not in wanted][:50]
    of_wanted = [code for name in wanted for other, code in pairs if other == name]
    if asked > 1:
        question = f"What are the access codes of {', '.join(wanted)}, in this order?"
        answer = answers.several(of_wanted, rivals, ordered=True)
    elif values > 1:
        question = f"The text gives {values} access codes of {wanted[0]}. What are they?"
        answer = answers.several(of_wanted, rivals)
    else:
        question = f"What is the access code of {wanted[0]}?"
        answer = answers.name(of_wanted[0], rivals)
    said = [f"The access code of {name} is {code}." for name, code in pairs]
    about = [wanted[0], *rng.choices(names, k=DECOYS - 1)]
    said += [f"The {kind} of {name} is {code}." for kind, name, code in zip(OTHER_CODES, about, others, strict=True)]
    query = {"op": "codes", "keys": wanted}
    return Needle(question, answer, query, _hidden_in(rng, said, level, count), sentence_tokens(count))


# Variables -------------------------------------------------------------------------------------------------------


def variables(rng: random.Random, level: Level, count: Counter) -> Needle:
    """Chains of assignments; all variables that hold one value are asked for."""
    hops = _width(rng, level) + 2
    chains = max(2, min(60, level.tokens // 1200))
    taken: dict[str, None] = {}
    while len(taken) < chains * (hops + 1):
        taken["".join(rng.choices(LETTERS, k=5))] = None
    all_names = list(taken)
    values = [str(value) for value in rng.sample(range(10_000, 100_000), chains)]
    lines: list[list[str]] = []
    for number, value in enumerate(values):
        names = all_names[number * (hops + 1) : (number + 1) * (hops + 1)]
        links = [f"VAR {later} = VAR {names[rng.randrange(at + 1)]}" for at, later in enumerate(names[1:])]
        lines.append([f"VAR {names[0]} = {value}", *links])
    answer = answers.several(all_names[: hops + 1], all_names[hops + 1 :][:50])
    question = f"Which variables hold the value {values[0]}, directly or through other variables?"
    said = _interleaved(rng, lines)
    write = _hidden_in(rng, [f"{line}." for line in said], level, count, shuffled=False)
    return Needle(question, answer, {"op": "variables", "value": values[0]}, write, sentence_tokens(count))


def _interleaved(rng: random.Random, lines: list[list[str]]) -> list[str]:
    """All lines; those of one chain stay in their order, since each uses what was assigned before."""
    turns = [number for number, chain in enumerate(lines) for _ in chain]
    rng.shuffle(turns)
    left = [iter(chain) for chain in lines]
    return [next(left[turn]) for turn in turns]


def _hidden_in(
    rng: random.Random, said: list[str], level: Level, count: Counter, *, shuffled: bool = True
) -> Callable[[int], str]:
    """A text of sentences with these among them."""
    filler = sentences(rng, int(1.1 * level.tokens / sentence_tokens(count)))
    if shuffled:
        rng.shuffle(said)
    spots = sorted(rng.random() for _ in said)

    def write(items: int) -> str:
        items = min(items, len(filler))
        parts, last = ["Some things are hidden in this text. Read it and answer the question about it.\n"], 0
        for spot, one in zip(spots, said, strict=True):
            at = int(spot * (items + 1))
            parts += [*filler[last:at], one]
            last = at
        return " ".join([*parts, *filler[last:items]])

    return write


# Counting words --------------------------------------------------------------------------------------------------


def common_words(rng: random.Random, level: Level, count: Counter) -> Needle:
    """A numbered list of words; a few stand in it at least twice as often as any other."""
    words = rng.sample(COMMON, len(COMMON))
    wanted, others = words[:COMMONS], words[COMMONS:]

    def write(items: int) -> str:
        often = max(4, items // (COMMONS * 4))
        rest = max(0, items - COMMONS * often)
        spread = max(1, often // 2)
        kinds = max(1, -(-rest // spread))
        many = others if kinds > len(others) else others[:kinds]
        return _list(random.Random(seed), [*wanted * often, *(many[at % len(many)] for at in range(rest))])

    seed = rng.getrandbits(48)
    each = count(" ".join(f"{number}. {word}" for number, word in enumerate(words, 1000))) / len(words)
    question = f"Which {COMMONS} words stand in the list more often than all others?"
    answer = answers.several(wanted, others)
    return Needle(question, answer, {"op": "common", "count": COMMONS}, write, each)


def _list(rng: random.Random, words: list[str]) -> str:
    rng.shuffle(words)
    listed = " ".join(f"{number}. {word}" for number, word in enumerate(words, 1))
    return f"Below is a numbered list of words, some of which stand in it more than once.\n\n{listed}"


def frequent_words(rng: random.Random, level: Level, count: Counter) -> Needle:
    """A stream of words; the frequency of the word of rank r falls as r^-1.5."""
    words = rng.sample(COMMON, 60)
    seed = rng.getrandbits(48)

    def write(items: int) -> str:
        total = max(80, items)
        shares = [(rank + 1) ** -1.5 for rank in range(len(words))]
        counts = [max(1, int(total * share / sum(shares))) for share in shares]
        text = [word for word, number in zip(words, counts, strict=True) for _ in range(number)]
        random.Random(seed).shuffle(text)
        return f"Below is a stream of words.\n\n{' '.join(text)}"

    each = count(" ".join(words)) / len(words)
    question = f"Which {FREQUENT} words of the stream occur most often?"
    answer = answers.several(words[:FREQUENT], words[FREQUENT:])
    return Needle(question, answer, {"op": "frequent", "count": FREQUENT}, write, each)


def _width(rng: random.Random, level: Level) -> int:
    return max(2, rng.randint(*level.needles))


NEEDLES: dict[str, Callable[[random.Random, Level, Counter], Needle]] = {
    "needle_single": single,
    "needle_many_keys": many_keys,
    "needle_many_values": many_values,
    "needle_many_queries": many_queries,
    "variables": variables,
    "common_words": common_words,
    "frequent_words": frequent_words,
}
