"""A task being written: what it reads in the world, the calls a perfect assistant makes, the wish in words.

    @template("email", level=2)
    def delete_the_last_mail(s: Story) -> str:
        person = s.colleague()
        mail = s.last_mail(person)
        s.write("email_delete_email", email_id=mail["email_id"])
        return f"Delete the last email that {person.first} sent me."

The functions are the logic of the ground truth: `write` is a call of it, `read` what has to be looked up first. A story
that cannot be told with what was drawn is given up with `Untold` and drawn anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from environments.workplace.company import TODAY, Company, Person
from environments.workplace.desk import Row
from environments.workplace.facts import Facts
from gym_core.environment import Call

DOMAINS = ("email", "calendar", "analytics", "project_management", "customer_relationship_manager", "multi_domain")
ALL_ON_ONE_PAGE = 100


class Untold(Exception):
    """What was drawn makes no task."""


@dataclass(slots=True)
class Story:
    """`reads` and `writes` in the order a person makes them; `answer` is the whole reply wanted, None for any words."""

    rng: random.Random
    company: Company
    facts: Facts
    calls: list[tuple[Call, bool]] = field(default_factory=list)
    answer: str | None = None

    def read(self, name: str, /, **arguments: Any) -> None:
        if (Call(name, arguments), False) not in self.calls:
            self.calls.append((Call(name, arguments), False))

    def write(self, name: str, /, **arguments: Any) -> None:
        self.calls.append((Call(name, arguments), True))

    def say(self, answer: object) -> None:
        self.answer = str(answer)

    def need(self, condition: object) -> None:
        if not condition:
            raise Untold

    # Who and when ------------------------------------------------------------------------------------------------

    def colleague(self) -> Person:
        """Someone whose first name nobody shares, looked up in the directory."""
        return self.look_up(self.rng.choice([person for person in self.company.people if person.alone]))

    def namesake(self) -> Person:
        """Someone whose first name somebody shares: the full name has to be told apart."""
        return self.look_up(self.rng.choice([person for person in self.company.people if not person.alone]))

    def member(self) -> Person:
        return self.look_up(self.rng.choice([person for person in self.company.team if person.alone]))

    def seller(self) -> Person:
        return self.look_up(self.rng.choice([person for person in self.company.sellers if person.alone]))

    def other(self, person: Person, among: tuple[Person, ...]) -> Person:
        return self.look_up(self.rng.choice([one for one in among if one.alone and one != person]))

    def named(self, email: str) -> Person:
        return next(person for person in self.company.people if person.email == email)

    def look_up(self, person: Person) -> Person:
        self.read("company_directory_find_email_address", name=person.first)
        return person

    def workday(self) -> date:
        """A working day in the next three weeks."""
        days = [TODAY + timedelta(days=n) for n in range(1, 21)]
        return self.rng.choice([day for day in days if day.weekday() < 5])

    def past_day(self, most: int = 60) -> date:
        return TODAY - timedelta(days=self.rng.randint(3, most))

    # What is looked up -------------------------------------------------------------------------------------------

    def last_mail(self, person: Person) -> Row:
        found = self.facts.mails(sender=person.email)
        self.need(found)
        self.read("email_search_emails", query=person.email, page_size=1)
        return found[0]

    def day_events(self, day: date) -> list[Row]:
        low, high = f"{day} 00:00:00", f"{day} 23:59:59"
        self.read("calendar_search_events", time_min=low, time_max=high, page_size=ALL_ON_ONE_PAGE)
        return self.facts.events(low=low, high=high)

    def coming_events(self, person: Person) -> list[Row]:
        low = f"{TODAY + timedelta(days=1)} 00:00:00"
        self.read("calendar_search_events", query=person.email, time_min=low, page_size=ALL_ON_ONE_PAGE)
        return self.facts.events(email=person.email, low=low)

    def past_events(self, person: Person, since: date) -> list[Row]:
        low, high = f"{since} 00:00:00", f"{TODAY} 23:59:59"
        self.read("calendar_search_events", query=person.email, time_min=low, time_max=high, page_size=ALL_ON_ONE_PAGE)
        return self.facts.events(email=person.email, low=low, high=high)

    def recent_mails(self, person: Person, since: date) -> list[Row]:
        self.read("email_search_emails", query=person.email, date_min=str(since), page_size=ALL_ON_ONE_PAGE)
        return self.facts.mails(sender=person.email, since=str(since))

    def tasks_of(self, person: Person, where: str | None = None, board: str | None = None) -> list[Row]:
        asked = {"assigned_to_email": person.email, "list_name": where, "board": board}
        self.read("project_management_search_tasks", **{k: v for k, v in asked.items() if v is not None})
        return self.facts.tasks(email=person.email, where=where, board=board)

    def late_tasks(self, person: Person) -> list[Row]:
        self.read("project_management_search_tasks", assigned_to_email=person.email)
        return self.facts.late(person.email)

    def customers(
        self,
        *,
        seller: Person | None = None,
        status: str | None = None,
        product: str | None = None,
        silent_since: date | None = None,
    ) -> list[Row]:
        asked = {
            "assigned_to_email": seller.email if seller else None,
            "status": status,
            "product_interest": product,
            "last_contact_date_max": str(silent_since) if silent_since else None,
        }
        shown = {key: value for key, value in asked.items() if value is not None}
        self.read("customer_relationship_manager_search_customers", **shown, page_size=200)
        return self.facts.customers(
            seller=asked["assigned_to_email"],
            status=status,
            product=product,
            silent_since=str(silent_since) if silent_since else None,
        )

    def metric(self, name: str, since: date) -> dict[str, float]:
        tool = {
            "total_visits": "analytics_total_visits_count",
            "user_engaged": "analytics_engaged_users_count",
            "session_duration_seconds": "analytics_get_average_session_duration",
        }[name]
        self.read(tool, time_min=str(since))
        found = self.facts.by_day(name, str(since))
        self.need(len(found) == (TODAY - since).days + 1)  # a day without visits is not told by the tools
        return found

    def first_free(self, day: date, minutes: int) -> str:
        """The earliest start, on the half hour from 9:00, at which so many minutes are free before 18:00."""
        busy = [(_minute(event["event_start"]), int(event["duration"])) for event in self.day_events(day)]
        for start in range(9 * 60, 18 * 60 - minutes + 1, 30):
            if all(start + minutes <= begin or start >= begin + lasts for begin, lasts in busy):
                return f"{day} {start // 60:02d}:{start % 60:02d}:00"
        raise Untold

    # What is done ------------------------------------------------------------------------------------------------

    def send(self, to: str, subject: str, body: str) -> None:
        self.write("email_send_email", recipient=to, subject=subject, body=body)

    def meet(self, person: Person, name: str, start: str, minutes: int) -> None:
        self.write(
            "calendar_create_event",
            event_name=name,
            participant_email=person.email,
            event_start=start,
            duration=str(minutes),
        )

    def assign(self, person: Person, name: str, due: date, board: str, where: str = "Backlog") -> None:
        self.write(
            "project_management_create_task",
            task_name=name,
            assigned_to_email=person.email,
            list_name=where,
            due_date=str(due),
            board=board,
        )

    def set_task(self, task: Row, name: str, value: str) -> None:
        self.write("project_management_update_task", task_id=task["task_id"], field=name, new_value=value)

    def set_customer(self, customer: Row, name: str, value: str) -> None:
        self.write(
            "customer_relationship_manager_update_customer",
            customer_id=customer["customer_id"],
            field=name,
            new_value=value,
        )

    def drop_customer(self, customer: Row) -> None:
        self.write("customer_relationship_manager_delete_customer", customer_id=customer["customer_id"])

    def plot(self, value: str, kind: str, first: date, last: date = TODAY) -> None:
        self.write(
            "analytics_create_plot", time_min=str(first), time_max=str(last), value_to_plot=value, plot_type=kind
        )


def _minute(when: str) -> int:
    return int(when[11:13]) * 60 + int(when[14:16])


def day_name(day: date) -> str:
    """December 1."""
    return f"{day:%B} {day.day}"


def full_day(day: date) -> str:
    """Friday, December 1."""
    return f"{day:%A}, {day_name(day)}"


def clock(start: str) -> str:
    """The time of day of an event's start, 14:30."""
    return start[11:16]


Teller = Callable[[Story], str]


@dataclass(slots=True, frozen=True)
class Template:
    """A kind of task. `tools` are declared where not all of them are (level 0)."""

    name: str
    domain: str
    level: int
    tell: Teller
    tools: tuple[str, ...] = ()


TEMPLATES: list[Template] = []
"""In the order of definition; filled by the modules beside this one."""


def template(domain: str, level: int, tools: tuple[str, ...] = ()) -> Callable[[Teller], Teller]:
    """Add a template."""
    assert domain in DOMAINS

    def add(tell: Teller) -> Teller:
        TEMPLATES.append(Template(f"{domain}.{tell.__name__}", domain, level, tell, tools))
        return tell

    return add
