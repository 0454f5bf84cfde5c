"""Six kinds of document for a sheet: markdown table, CSV file, report, article, data sheet, protocol.

Each says every number of the sheet once, with its column's name and unit, and which group each row belongs to; the
groups' own facts stand in a section of their own. Order of rows and sentences is drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from environments.stem_qa.documents.sheet import Sheet
from environments.stem_qa.documents.themes import Column

Item = TypeVar("Item")


def heading(column: Column) -> str:
    return f"{column.name} ({column.unit})" if column.unit else column.name


def table(sheet: Sheet, rng: random.Random) -> str:
    """Markdown tables."""
    parts = [f"## {sheet.theme.title}", _markdown(_rows(sheet))]
    if sheet.groups:
        parts.append(_markdown(_groups(sheet)))
    return "\n\n".join(parts)


def csv(sheet: Sheet, rng: random.Random) -> str:
    """Comma-separated values, with comment lines."""
    parts = [f"# {sheet.theme.title}, file 1: by {sheet.theme.subject}"]
    parts += [",".join(cells) for cells in _rows(sheet)]
    if sheet.groups:
        parts += [f"# file 2: by {sheet.theme.group}", *(",".join(cells) for cells in _groups(sheet))]
    return "\n".join(parts)


def report(sheet: Sheet, rng: random.Random) -> str:
    """Numbered sections, a paragraph for each row."""
    lines = [f"{sheet.theme.title}: report", "1. Results"]
    for row in _shuffled(rng, sheet.rows):
        facts = [f"a {column.name} of {sheet.shown(row, column)}" for column in _shuffled(rng, sheet.columns)]
        lines.append(f"{sheet.theme.subject.capitalize()} {row} had {_listed(facts)}.{_belongs(sheet, row)}")
    if sheet.groups:
        lines.append(f"2. {sheet.theme.group.capitalize()} records")
        lines += [_group_sentence(sheet, rng, group) for group in _shuffled(rng, sheet.groups)]
    return "\n".join(lines)


def article(sheet: Sheet, rng: random.Random) -> str:
    """Running text; the sentences about one row lie apart."""
    sentences = []
    for row in sheet.rows:
        for column in sheet.columns:
            value, name = sheet.shown(row, column), column.name
            sentences.append(
                rng.choice(
                    (
                        f"For {row} the {name} came to {value}.",
                        f"The {name} of {row} was {value}.",
                        f"{row} stood out with nothing but its {name}: {value}.",
                        f"With {row}, {value} was noted as the {name}.",
                    )
                )
            )
        if sheet.groups:
            sentences.append(_belongs(sheet, row).strip())
    sentences += [_group_sentence(sheet, rng, group) for group in sheet.groups]
    sentences = _shuffled(rng, sentences)
    paragraphs = [" ".join(sentences[start : start + 6]) for start in range(0, len(sentences), 6)]
    return f"{sheet.theme.title}: what we learnt\n\n" + "\n\n".join(paragraphs)


def datasheet(sheet: Sheet, rng: random.Random) -> str:
    """A block of parameters for each row, dots between name and value."""
    blocks = []
    for row in _shuffled(rng, sheet.rows):
        lines = [f"[{sheet.theme.subject} {row}]"]
        lines += [f"{column.name} ".ljust(32, ".") + f" {sheet.shown(row, column)}" for column in sheet.columns]
        if sheet.groups:
            lines.append(f"{sheet.theme.group} ".ljust(32, ".") + f" {sheet.member[row]}")
        blocks.append("\n".join(lines))
    for group in _shuffled(rng, sheet.groups):
        lines = [f"[{sheet.theme.group} {group}]"]
        lines += [f"{column.name} ".ljust(32, ".") + f" {sheet.shown(group, column)}" for column in sheet.trait_columns]
        blocks.append("\n".join(lines))
    return f"DATA SHEET: {sheet.theme.title}\n\n" + "\n\n".join(blocks)


def protocol(sheet: Sheet, rng: random.Random) -> str:
    """Numbered steps in the order of the day, with a clock time that is asked for nowhere."""
    lines, minutes = [f"Laboratory protocol: {sheet.theme.title}"], 8 * 60 + rng.randint(0, 50)
    steps: list[str] = []
    for row in sheet.rows:
        facts = [f"{column.name} {sheet.shown(row, column)}" for column in _shuffled(rng, sheet.columns)]
        steps.append(f"{sheet.theme.subject} {row} done; noted: {', '.join(facts)}.{_belongs(sheet, row)}")
    steps += [f"{sheet.theme.group} checked. {_group_sentence(sheet, rng, group)}" for group in sheet.groups]
    for number, step in enumerate(_shuffled(rng, steps), 1):
        minutes += rng.randint(3, 17)
        lines.append(f"Step {number} ({minutes // 60:02d}:{minutes % 60:02d}): {step}")
    return "\n".join(lines)


KINDS: dict[str, Callable[[Sheet, random.Random], str]] = {
    "table": table,
    "csv": csv,
    "report": report,
    "article": article,
    "datasheet": datasheet,
    "protocol": protocol,
}


def _shuffled(rng: random.Random, items: Sequence[Item]) -> list[Item]:
    return rng.sample(items, len(items))


def _rows(sheet: Sheet) -> list[list[str]]:
    head = [sheet.theme.subject, *(heading(column) for column in sheet.columns)]
    lines = [[row, *(column.number(sheet.values[row, column.name]) for column in sheet.columns)] for row in sheet.rows]
    if sheet.groups:
        head.append(sheet.theme.group)
        lines = [[*line, sheet.member[line[0]]] for line in lines]
    return [head, *lines]


def _groups(sheet: Sheet) -> list[list[str]]:
    head = [sheet.theme.group, *(heading(column) for column in sheet.trait_columns)]
    lines = [
        [group, *(column.number(sheet.traits[group, column.name]) for column in sheet.trait_columns)]
        for group in sheet.groups
    ]
    return [head, *lines]


def _markdown(lines: list[list[str]]) -> str:
    head, *body = lines
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body))


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _belongs(sheet: Sheet, row: str) -> str:
    if not sheet.groups:
        return ""
    return f" {row} {sheet.theme.verb} {sheet.theme.group} {sheet.member[row]}."


def _group_sentence(sheet: Sheet, rng: random.Random, group: str) -> str:
    facts = [f"a {column.name} of {sheet.shown(group, column)}" for column in _shuffled(rng, sheet.trait_columns)]
    return f"{sheet.theme.group.capitalize()} {group} has {_listed(facts)}."
