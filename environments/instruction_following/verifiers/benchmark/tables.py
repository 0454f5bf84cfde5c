"""`custom:csv_*`: three tables with given columns, separators and quotes."""

from __future__ import annotations

import csv
import io
import re
from typing import ClassVar

from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

_SPECIAL = re.compile(r"[^\d\w\s]")
_QUOTED = re.compile(r'"([^"\n]*)"')


class _Table(Constraint):
    """A header, then so many rows of filled fields."""

    benchmark: ClassVar[bool] = True
    solo: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ()
    num_rows: ClassVar[int] = 0
    separator: ClassVar[str] = ","
    quoted: ClassVar[bool] = False
    asks: ClassVar[str] = ""

    def describe(self, given: Kwargs) -> str:
        sign = "tab" if self.separator == "\t" else "comma"
        return (
            f"Generate CSV data: The column names are {', '.join(self.columns)}, the data should be {sign} delimited. "
            f"Please generate {self.num_rows} rows{self.asks}."
        )

    def check(self, text: str, given: Kwargs) -> bool:
        rows = _rows(text.strip(), self.separator, strict=True)
        full = len(rows) == self.num_rows + 1 and [field.strip() for field in rows[0]] == list(self.columns)
        return full and all(len(row) == len(self.columns) and all(map(str.strip, row)) for row in rows)

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        rows = [list(self.columns)]
        rows += [
            [str(number), *draw.rng.sample(FILLER, 2), *(str(draw.rng.randint(10, 99)) for _ in range(2))]
            for number in range(1, self.num_rows + 1)
        ]
        wrap = '"{}"' if self.quoted else "{}"
        return "\n".join(self.separator.join(wrap.format(field) for field in row) for row in rows)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.rpartition("\n")[0], f"{text}\n{NOT_EVEN_A_WORD}"]


def _rows(text: str, separator: str, strict: bool = False) -> list[list[str]]:
    """None at all where the text is no CSV."""
    try:
        return list(csv.reader(io.StringIO(text), delimiter=separator, strict=strict))
    except csv.Error:
        return []


def _header_fits(text: str, columns: tuple[str, ...], joint: str) -> bool:
    """The first line names the columns, each in quotes or not, white space behind the separators."""
    pattern = joint.join(f'(?:{name}|"{name}")' for name in columns)
    return re.match(f"{pattern}$", text.partition("\n")[0].strip()) is not None


@register
class CsvCity(_Table):
    """Seven rows; as published, fields may be empty."""

    id = "custom:csv_city"
    columns = ("ID", "Country", "City", "Year", "Count")
    num_rows = 7

    def published(self, text: str, given: Kwargs) -> bool:
        rows = _rows(text, ",")
        return len(rows) == 8 and rows[0] == list(self.columns) and all(len(row) == 5 for row in rows[1:])


@register
class CsvSpecial(_Table):
    """Fourteen rows, one field in quotes that has a special character; published stops at the first such field."""

    id = "custom:csv_special_character"
    columns = ("ProductID", "Category", "Brand", "Price", "Stock")
    num_rows = 14
    asks = ". Add one field which contains a special character and enclose it in double quotes"

    def check(self, text: str, given: Kwargs) -> bool:
        quoted = _QUOTED.findall(text.partition("\n")[2])
        return super().check(text, given) and any(map(_SPECIAL.search, quoted))

    def published(self, text: str, given: Kwargs) -> bool:
        if not _header_fits(text, self.columns, r",[ \t]*"):
            return False
        rows = _rows(text.replace('"', '"""'), ",")
        if len(rows) != 15:
            return False
        for row in rows[1:]:
            if len(row) != 5:
                return False
            if any(map(_published_special, row)):
                return True
        return False

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        lines = super().write(draw, given, keywords).split("\n")
        at = draw.rng.randint(1, self.num_rows)
        lines[at] = f'{at},{draw.rng.choice(FILLER)},"{draw.rng.choice(FILLER)} & co.",10,20'
        return "\n".join(lines)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace('"', ""), *super().spoil(text, given)]


def _published_special(field: str) -> bool:
    """A quote, later a sign that is no letter, digit or space, later a quote again; all on the first line."""
    line = field.partition("\n")[0]
    return line.startswith('"') and _SPECIAL.search(line, 1, max(line.rfind('"'), 1)) is not None


@register
class CsvQuotes(_Table):
    """Three rows between tabs, every field in quotes."""

    id = "custom:csv_quotes"
    columns = ("StudentID", "Subject", "Grade", "Semester", "Score")
    num_rows = 3
    separator = "\t"
    quoted = True
    asks = " and enclose each single field in double quotes"

    def check(self, text: str, given: Kwargs) -> bool:
        fields = [field.strip() for line in text.strip().split("\n") for field in line.split("\t")]
        return super().check(text, given) and all(_QUOTED.fullmatch(field) for field in fields)

    def published(self, text: str, given: Kwargs) -> bool:
        if not _header_fits(text, self.columns, "\t *"):
            return False
        rows = _rows(text.replace('"', '"""'), "\t")
        return len(rows) == 4 and all(
            len(row) == 5 and all(field.strip()[:1] == '"' == field.strip()[-1:] for field in row) for row in rows
        )

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace('"', ""), *super().spoil(text, given)]
