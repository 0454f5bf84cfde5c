"""A second reader: the numbers of a document taken from its text alone, and queries answered from them."""

import re
from decimal import Decimal

ROW = r"[A-Z]-\d+"
NUMBER = r"-?\d+(?:\.\d+)?"


class Read:
    """`values[name][column]` as (number, text as written), `member[row]` the group; rows and groups share `values`."""

    def __init__(self, kind, text, theme):
        self.theme = theme
        self.values = {}
        self.member = {}
        self.columns = (*theme.columns, *theme.traits)
        getattr(self, kind)(text)

    def put(self, name, column, number):
        written = f"{number} {column.unit}".strip()
        held = self.values.setdefault(name, {}).setdefault(column.name, (Decimal(number), written))
        assert held == (Decimal(number), written), (name, column.name, held)

    def rows(self):
        return [name for name in self.values if re.fullmatch(ROW, name)]

    # Kinds -----------------------------------------------------------------------------------------------------

    def grid(self, lines):
        head, *body = lines
        by_heading = {f"{c.name} ({c.unit})" if c.unit else c.name: c for c in self.columns}
        for cells in body:
            for title, cell in zip(head[1:], cells[1:], strict=True):
                if title == self.theme.group:
                    self.member[cells[0]] = cell
                else:
                    self.put(cells[0], by_heading[title], cell)

    def table(self, text):
        for block in text.split("\n\n")[1:]:
            lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
            self.grid([lines[0], *lines[2:]])

    def csv(self, text):
        for block in re.split(r"^#.*\n", text, flags=re.MULTILINE)[1:]:
            self.grid([line.split(",") for line in block.strip().splitlines()])

    def datasheet(self, text):
        for block in text.split("\n\n")[1:]:
            title, *lines = block.splitlines()
            name = title.strip("[]").rsplit(" ", 1)[1]
            for line in lines:
                label, value = re.fullmatch(r"(.+?) \.* (.+)", line).groups()
                if label == self.theme.group:
                    self.member[name] = value
                else:
                    self.put(name, next(c for c in self.columns if c.name == label), value.split(" ")[0])

    def report(self, text):
        self.prose(text.splitlines())

    def protocol(self, text):
        self.prose(re.sub(r"Step \d+ \(\d\d:\d\d\): ", "", text).splitlines())

    def article(self, text):
        self.prose(re.split(r"(?<=\.)\s+(?=[A-Z])", text))

    def prose(self, lines):
        """Each line speaks of one row or one group; its numbers stand beside the names of columns."""
        group = self.theme.group
        for line in lines:
            row = re.search(ROW, line)
            found = re.search(rf"(?i:{group}) ([A-Z][a-z]+)(?: has|\.)", line)
            name = row[0] if row else found[1] if found else None
            if row and found:
                self.member[row[0]] = found[1]
            if name is None:
                continue
            for column in self.columns:
                label = re.escape(column.name)
                forms = (
                    rf"(?<![\w]){label}(?: of {ROW} was| of| came to|:)? ({NUMBER})",
                    rf"({NUMBER})[^,]*? was noted as the {label}",
                )
                for form in forms:
                    for match in re.finditer(form, line):
                        self.put(name, column, match[1])

    # Queries ---------------------------------------------------------------------------------------------------

    def number(self, name, column):
        return self.values[name][column][0]

    def written(self, number, column):
        unit = next(c.unit for c in self.columns if c.name == column)
        return f"{number} {unit}".strip()

    def members(self, group):
        return [row for row, other in self.member.items() if other == group]

    def answer(self, kind, q):
        column = q.get("column")
        if kind == "lookup":
            return self.values[q["row"]][column][1]
        if kind == "who":
            (row,) = [row for row in self.rows() if self.values[row][column][1] == q["value"]]
            return row
        if kind == "extreme":
            return sorted(self.rows(), key=lambda row: -self.number(row, column))[q["place"]]
        if kind == "difference":
            one, two = (self.number(row, column) for row in q["rows"])
            return self.written(abs(one - two), column)
        if kind == "total":
            return self.written(sum(self.number(row, column) for row in q["rows"]), column)
        if kind == "negation":
            limit = Decimal(q["limit"].split(" ")[0])
            (row,) = [row for row in q["options"] if not self.number(row, column) > limit]
            return row
        if kind == "membership":
            return self.member[q["row"]]
        if kind == "join":
            return self.values[self.member[q["row"]]][column][1]
        if kind == "join_extreme":
            best = (max if q["high"] else min)(self.rows(), key=lambda row: self.number(row, column))
            return self.values[self.member[best]][q["trait"]][1]
        numbers = [self.number(row, column) for row in self.members(q["group"])]
        result = sum(numbers) if kind == "group_total" else max(numbers) - min(numbers)
        return self.written(result, column)
