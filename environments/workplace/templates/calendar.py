"""Templates about the calendar."""

from __future__ import annotations

from datetime import timedelta

from environments.workplace.company import TODAY
from environments.workplace.templates.phrases import MEETINGS
from environments.workplace.templates.story import Story, clock, day_name, full_day, template

_D = "calendar"


@template(_D, 0, ("calendar_delete_event", "calendar_update_event"))
def cancel_by_id(s: Story) -> str:
    event = s.rng.choice(s.facts.events())
    s.write("calendar_delete_event", event_id=event["event_id"])
    return s.rng.choice(("Delete event {i}.", "Cancel event {i}.")).format(i=event["event_id"])


@template(_D, 0, ("calendar_update_event", "calendar_delete_event"))
def lengthen_by_id(s: Story) -> str:
    event, minutes = s.rng.choice(s.facts.events()), s.rng.choice(("45", "75", "150"))
    s.write("calendar_update_event", event_id=event["event_id"], field="duration", new_value=minutes)
    return f"Set the duration of event {event['event_id']} to {minutes} minutes."


@template(_D, 1)
def book_at(s: Story) -> str:
    person, day, name = s.colleague(), s.workday(), s.rng.choice(MEETINGS)
    start, minutes = f"{day} {s.rng.randint(9, 16):02d}:{s.rng.choice(('00', '30'))}:00", s.rng.choice((30, 60))
    s.meet(person, name, start, minutes)
    return f"Book {minutes} minutes with {person.first} on {full_day(day)} at {clock(start)}, called '{name}'."


@template(_D, 1)
def cancel_next_with(s: Story) -> str:
    person = s.colleague()
    coming = s.coming_events(person)
    s.need(coming)
    s.write("calendar_delete_event", event_id=coming[0]["event_id"])
    return s.rng.choice(("Cancel my next meeting with {p}.", "Delete the next event I have with {p}.")).format(
        p=person.first
    )


@template(_D, 1)
def rename_first_of_day(s: Story) -> str:
    day, name = s.workday(), s.rng.choice(MEETINGS)
    found = s.day_events(day)
    s.need(found)
    s.write("calendar_update_event", event_id=found[0]["event_id"], field="event_name", new_value=name)
    return f"Rename the first event on {day_name(day)} to {name}"


@template(_D, 2)
def rename_last_of_day(s: Story) -> str:
    day, name = s.workday(), s.rng.choice(MEETINGS)
    found = s.day_events(day)
    s.need(len(found) > 1)
    s.write("calendar_update_event", event_id=found[-1]["event_id"], field="event_name", new_value=name)
    return f"Change the name of the last event on {day_name(day)} to {name}"


@template(_D, 2)
def move_next_with(s: Story) -> str:
    person, days = s.colleague(), 7
    coming = s.coming_events(person)
    s.need(coming)
    event = coming[0]
    day = TODAY.fromisoformat(event["event_start"][:10]) + timedelta(days=days)
    start = f"{day} {event['event_start'][11:]}"
    s.write("calendar_update_event", event_id=event["event_id"], field="event_start", new_value=start)
    return f"Push back my next meeting with {person.first} by exactly one week, same time of day."


@template(_D, 2)
def book_first_free(s: Story) -> str:
    person, day, minutes, name = s.colleague(), s.workday(), s.rng.choice((30, 60, 90)), s.rng.choice(MEETINGS)
    s.meet(person, name, s.first_free(day, minutes), minutes)
    return (
        f"Book a {minutes}-minute meeting with {person.first} called '{name}' at the earliest time I am free on "
        f"{full_day(day)}."
    )


@template(_D, 2)
def clear_day(s: Story) -> str:
    day = s.workday()
    found = s.day_events(day)
    s.need(len(found) > 1)
    for event in found:
        s.write("calendar_delete_event", event_id=event["event_id"])
    return f"Cancel everything I have on {full_day(day)}."


@template(_D, 3)
def meet_if_not_met(s: Story) -> str:
    person, since, name = s.colleague(), s.past_day(40), s.rng.choice(MEETINGS)
    met, day = s.past_events(person, since), s.workday()
    if met:
        s.say(met[-1]["event_start"])
    else:
        s.meet(person, name, s.first_free(day, 30), 30)
    return (
        f"If I have had no meeting with {person.first} since {day_name(since)} (that day included), book 30 minutes "
        f"with them called '{name}' at the earliest time I am free on {full_day(day)}. Otherwise change nothing and "
        "reply only with the start of our latest meeting, as YYYY-MM-DD HH:MM:SS."
    )


@template(_D, 3)
def trim_or_cancel(s: Story) -> str:
    person = s.colleague()
    coming = s.coming_events(person)
    s.need(coming)
    event = coming[0]
    if int(event["duration"]) > 60:
        s.write("calendar_update_event", event_id=event["event_id"], field="duration", new_value="60")
    else:
        s.write("calendar_delete_event", event_id=event["event_id"])
    return (
        f"Look at my next meeting with {person.first}: if it is longer than an hour, shorten it to 60 minutes, "
        "otherwise cancel it."
    )


@template(_D, 3)
def free_time(s: Story) -> str:
    day, minutes = s.workday(), s.rng.choice((60, 90, 120))
    s.need(s.day_events(day))
    s.say(s.first_free(day, minutes))
    return (
        f"When on {full_day(day)} could I have {minutes} minutes without a break, at the earliest? Start on the full "
        "or the half hour. Book nothing, reply only with the start as YYYY-MM-DD HH:MM:SS."
    )


@template(_D, 4)
def hand_over_meetings(s: Story) -> str:
    person = s.colleague()
    to = s.other(person, s.company.people)
    coming = s.coming_events(person)
    s.need(len(coming) > 1)
    for event in coming:
        s.write("calendar_update_event", event_id=event["event_id"], field="participant_email", new_value=to.email)
    return f"{to.first} replaces {person.first} in all meetings that I still have with {person.first}. Update them."


@template(_D, 4)
def lengthen_or_book(s: Story) -> str:
    person, day, name = s.colleague(), s.workday(), s.rng.choice(MEETINGS)
    coming = [event for event in s.coming_events(person) if event["event_start"] < f"{day} 23:59:59"]
    if coming:
        for event in coming:
            s.write("calendar_update_event", event_id=event["event_id"], field="event_name", new_value=name)
    else:
        s.meet(person, name, s.first_free(day, 60), 60)
    return (
        f"If I have meetings with {person.first} from tomorrow to {day_name(day)} (that day included), rename all of "
        f"them to '{name}'. If not, book an hour with them under that name at the earliest time I am free on "
        f"{full_day(day)}."
    )


@template(_D, 5)
def swap_days(s: Story) -> str:
    person = s.namesake()
    coming, name = s.coming_events(person), s.rng.choice(MEETINGS)
    day = s.workday()
    s.need(coming)
    longest = max(coming, key=lambda event: (int(event["duration"]), event["event_start"]))
    s.need([event["duration"] for event in coming].count(longest["duration"]) == 1)
    s.write("calendar_delete_event", event_id=longest["event_id"])
    s.meet(person, name, s.first_free(day, 30), 30)
    return (
        f"Of the meetings that I still have with {person.first} {person.last}, cancel the longest, and book 30 "
        f"minutes with them called '{name}' at the earliest time I am free on {full_day(day)} (before you cancelled)."
    )
