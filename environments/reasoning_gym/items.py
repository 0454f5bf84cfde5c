"""Items of the package, made again from their names; runs inside the pinned process.

A source is one of
    {name, level, index}            a generated task: the catalogue says the configuration
    {name, config, seed, index}     a row from outside that can be made again
    {name, question, answer, metadata}   a row from outside that brings its item
"""

from __future__ import annotations

import contextlib
import copy
import decimal
import functools
import json
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from environments.reasoning_gym.catalogue import generators
from environments.reasoning_gym.expressions import harmless, value_of

SEED = 20_26
"""Of every data set whose items are told apart by their index."""

SIZE = 2**31
CACHED_ITEMS = 512

FORMULAS = frozenset(
    ("simple_integration", "intermediate_integration", "polynomial_multiplication", "countdown", "puzzle24")
)
"""Their graders hand the answer to sympy's parser, which runs Python."""

UNPARSABLE = "("
"""Stands in for a formula that is none: the grader says of it what it says of any text that it cannot parse."""

Item = dict[str, Any]
Source = dict[str, Any]

_items: OrderedDict[str, tuple[Any, Item]] = OrderedDict()


def warm() -> None:
    """Import the package, seconds the first time."""
    import reasoning_gym  # noqa: F401


def names() -> list[str]:
    """All generators that the package registers."""
    from reasoning_gym.factory import DATASETS

    return sorted(DATASETS)


def shown(source: Source) -> dict[str, str | None]:
    """Question and answer of a source. Raises whatever the package raises for it, and `ValueError` for a generated
    item whose answer does not stand a second look: its own grader's, and ours where the package is known to err."""
    data_set, item = found(source)
    if "level" in source:
        _look_again(source["name"], data_set, item)
    return {"question": item["question"], "answer": item["answer"]}


def score(name: str, data_set: Any, item: Item, answer: str) -> float:
    """The package's grade of an answer, which runs nothing that a candidate wrote. Raises what the grader raises."""
    if name in FORMULAS and not harmless(answer):
        answer = UNPARSABLE
    with decimal.localcontext(decimal.DefaultContext):
        return float(data_set.score_answer(answer, copy.deepcopy(item)))


def _look_again(name: str, data_set: Any, item: Item) -> None:
    gold = item["answer"]
    paid = harmless(gold) if name in FORMULAS else isinstance(gold, str) and score(name, data_set, item, gold) >= 1.0
    if not paid:
        raise ValueError(f"the package does not pay its own answer {str(gold)[:80]!r}")
    if name == "basic_arithmetic":
        _check_sum(item)


def _check_sum(item: Item) -> None:
    """Without brackets the package divides by other numbers than it shows, with them it rounds unasked."""
    read = value_of(item["metadata"]["expression"])
    if read is None or read[0] != int(item["answer"]):
        raise ValueError(f"{item['metadata']['expression']!r} is not {item['answer']}")


def entry(source: Source) -> Item:
    """The whole item of a source, metadata included."""
    return found(source)[1]


def found(source: Source) -> tuple[Any, Item]:
    """The data set (with its grader) and the item of a source; the last ones are remembered."""
    key = json.dumps(source, sort_keys=True)
    if key not in _items:
        _items[key] = _made(source)
        if len(_items) > CACHED_ITEMS:
            _items.popitem(last=False)
    _items.move_to_end(key)
    return _items[key]


def _made(source: Source) -> tuple[Any, Item]:
    name = source["name"]
    if "question" in source:
        item = {key: source[key] for key in ("question", "answer", "metadata")}
        return _default(name), _thawed(name, item)
    if "level" not in source:
        return _item(_data_set(name, {**source["config"], "seed": source["seed"]}), source["index"])
    if generators()[name].by_seed:
        return _item(_at_level(name, source["level"], source["index"], 1), 0)
    pool = generators()[name].pool
    return _item(_kept(name, source["level"], pool or SIZE), source["index"] % (pool or SIZE))


def _item(data_set: Any, index: int) -> tuple[Any, Item]:
    """Item of that index. What generators share (global random numbers, decimal precision) is the same each time."""
    with _shared_numbers(index), decimal.localcontext(decimal.DefaultContext):
        item = data_set[index]
    if item["answer"] is None and (example := _EXAMPLES.get(data_set.__class__.__name__)):
        item = {**item, "answer": example(item["metadata"])}
    return data_set, item


@contextlib.contextmanager
def _shared_numbers(seed: int) -> Iterator[None]:
    """The global generators at this seed, and back where they were afterwards."""
    import numpy

    ours, theirs = random.getstate(), numpy.random.get_state()
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(ours)
        numpy.random.set_state(theirs)


@functools.cache
def _kept(name: str, level: int, size: int) -> Any:
    return _at_level(name, level, SEED, size)


@functools.cache
def _default(name: str) -> Any:
    """The public server grades with the default configuration whatever made the item."""
    return _data_set(name, {"seed": 0, "size": 1} if generators()[name].by_seed else {"seed": 0})


def _at_level(name: str, level: int, seed: int, size: int) -> Any:
    from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum

    entry = generators()[name]
    basics = {"seed": seed, "size": size}
    if level == 0 and entry.start is not None:
        return _data_set(name, {**entry.start, **basics})
    step = max(0, level - 1)
    if entry.configs:
        return _data_set(name, {**entry.configs[min(step, len(entry.configs) - 1)], **basics})
    if name not in CURRICULA:
        return _data_set(name, basics)
    curriculum = create_curriculum(name)
    curriculum.set_global_level(entry.levels[step])
    config = curriculum.generate_configuration(basics)
    if hasattr(config, "validate"):
        config.validate()
    return DATASETS[name][0](config)


def _data_set(name: str, config: dict[str, Any]) -> Any:
    from reasoning_gym.factory import DATASETS

    make, describe = DATASETS[name]
    described = describe(**config)
    if hasattr(described, "validate"):
        described.validate()
    return make(described)


_EXAMPLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "GraphColorDataset": lambda metadata: json.dumps(
        {str(key): value for key, value in metadata["possible_answer"].items()}
    ),
    "RubiksCubeDataset": lambda metadata: str(metadata["example_correct_answer"]).strip(),
}
"""Data sets without one right answer whose items hold an example of one."""

# What JSON does to an item ------------------------------------------------------------------------------------------

_TUPLES = {"arc_agi": ("input", "output"), "rearc": ("input", "output")}
"""Metadata that graders compare with tuples; JSON made lists of them."""


def _thawed(name: str, item: Item) -> Item:
    metadata = dict(item["metadata"])
    for key in _TUPLES.get(name, ()):
        if key in metadata:
            metadata[key] = _tuples(metadata[key])
    return {**item, "metadata": metadata}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value
