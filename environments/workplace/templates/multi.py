"""Templates that need more than one domain."""

from __future__ import annotations

from environments.workplace.company import BOARDS, PRODUCTS, STATUSES
from environments.workplace.templates.phrases import CLIENTS, JOBS, MEETINGS, METRIC, NOTES
from environments.workplace.templates.story import Story, clock, day_name, full_day, template

_D = "multi_domain"


@template(_D, 2)
def write_to_first_guest(s: Story) -> str:
    day, (_, body) = s.workday(), s.rng.choice(NOTES)
    found = s.day_events(day)
    s.need(found)
    s.send(found[0]["participant_email"], found[0]["event_name"], body)
    return (
        f"Send an email to the participant of the first event on {day_name(day)}. Title it with the name of the event "
        f"and say '{body}'"
    )


@template(_D, 2)
def meet_the_sender(s: Story) -> str:
    mail, day, minutes = s.rng.choice(s.facts.mails()), s.workday(), s.rng.choice((30, 60))
    sent, start = mail["sent_datetime"][:10], f"{day} {s.rng.randint(9, 16):02d}:00:00"
    same = [m for m in s.facts.mails(subject=mail["subject"]) if m["sent_datetime"][:10] == sent]
    s.need(len(same) == 1)
    s.read("email_search_emails", query=mail["subject"], date_min=sent, date_max=sent)
    s.meet(s.named(mail["sender/recipient"]), mail["subject"], start, minutes)
    return (
        f"Find the email of {sent} about '{mail['subject']}' and book {minutes} minutes with its sender on "
        f"{full_day(day)} at {clock(start)}, called '{mail['subject']}'."
    )


@template(_D, 3)
def nudge_about_late_tasks(s: Story) -> str:
    person, (subject, body), (other, praise) = s.member(), s.rng.choice(NOTES[:4]), s.rng.choice(NOTES[4:])
    limit = s.rng.randint(1, 4)
    if len(s.late_tasks(person)) > limit:
        s.send(person.email, subject, body)
    else:
        s.send(person.email, other, praise)
    return (
        f"If {person.first} has more than {limit} overdue tasks (due before today, not completed), send them an email "
        f"titled '{subject}' saying '{body}' Otherwise send them one titled '{other}' saying '{praise}'"
    )


@template(_D, 3)
def meet_about_late_tasks(s: Story) -> str:
    person, day, name, limit = s.member(), s.workday(), s.rng.choice(MEETINGS), s.rng.randint(1, 4)
    late = s.late_tasks(person)
    if len(late) > limit:
        s.meet(person, name, s.first_free(day, 30), 30)
    else:
        mail = s.last_mail(person)
        s.say(mail["sent_datetime"])
    return (
        f"If {person.first} has more than {limit} overdue tasks (due before today, not completed), book 30 minutes "
        f"with them called '{name}' at the earliest time I am free on {full_day(day)}. Otherwise change nothing and "
        "reply only with the date and time of their latest email, as YYYY-MM-DD HH:MM:SS."
    )


@template(_D, 3)
def mail_or_meet(s: Story) -> str:
    person, since, (subject, body) = s.colleague(), s.past_day(30), s.rng.choice(NOTES)
    day, name = s.workday(), s.rng.choice(MEETINGS)
    if s.past_events(person, since):
        s.send(person.email, subject, body)
    else:
        s.meet(person, name, s.first_free(day, 30), 30)
    return (
        f"Have I met {person.first} since {day_name(since)} (that day included)? If so, send them an email titled "
        f"'{subject}' saying '{body}' If not, book 30 minutes with them called '{name}' at the earliest time I am free "
        f"on {full_day(day)}."
    )


@template(_D, 3)
def task_from_metric(s: Story) -> str:
    metric, since, person = s.rng.choice(("total_visits", "user_engaged")), s.past_day(40), s.member()
    limit = s.rng.randint(10, 24) if metric == "total_visits" else s.rng.randint(6, 16)
    name, due = s.rng.choice(JOBS), s.workday()
    days = s.metric(metric, since)
    if max(days.values()) > limit:
        s.assign(person, name, due, "Front end")
    else:
        s.send(person.email, name, "Nothing to do for now.")
    return (
        f"Was {METRIC[metric]} more than {limit} on any day since {day_name(since)} (that day included)? If so, add "
        f"'{name}' to {person.first}'s backlog on the Front end board, due {full_day(due)}. If not, send them an email "
        f"titled '{name}' saying 'Nothing to do for now.'"
    )


@template(_D, 4)
def new_customer_and_mail(s: Story) -> str:
    one, name, (subject, body) = s.seller(), s.rng.choice(CLIENTS), s.rng.choice(NOTES)
    two, product = s.other(one, s.company.sellers), s.rng.choice(PRODUCTS)
    loads = {person: len(s.customers(seller=person, product=product)) for person in (one, two)}
    s.need(loads[one] != loads[two])
    person = min(loads, key=loads.__getitem__)
    s.write(
        "customer_relationship_manager_add_customer",
        customer_name=name,
        assigned_to_email=person.email,
        status="Lead",
        product_interest=product,
    )
    s.send(person.email, subject, body)
    return (
        f"Add {name} as a new lead interested in {product}, with {one.first} or {two.first}: whoever has fewer "
        f"customers interested in {product}. Then send that person an email titled '{subject}' saying '{body}'"
    )


@template(_D, 4)
def late_tasks_everywhere(s: Story) -> str:
    person, day, name = s.member(), s.workday(), s.rng.choice(MEETINGS)
    (subject, body), late = s.rng.choice(NOTES), s.late_tasks(person)
    if len(late) > 2:
        s.meet(person, name, s.first_free(day, 30), 30)
        s.send(person.email, subject, body)
    else:
        s.send(person.email, name, "Nice work.")
    return (
        f"If {person.first} has more than two overdue tasks (due before today, not completed), book 30 minutes with "
        f"them called '{name}' at the earliest time I am free on {full_day(day)}, and send them an email titled "
        f"'{subject}' saying '{body}' Otherwise just send them one titled '{name}' saying 'Nice work.'"
    )


@template(_D, 4)
def metric_task_and_plot(s: Story) -> str:
    metric, since, person = s.rng.choice(list(METRIC)), s.past_day(50), s.member()
    name, due, board = s.rng.choice(JOBS), s.workday(), s.rng.choice(BOARDS)
    days = s.metric(metric, since)
    worst = min(days.values())
    s.need(list(days.values()).count(worst) == 1 and len(days) > 3)
    day = next(day for day, value in days.items() if value == worst)
    s.plot(metric, "line", since)
    s.assign(person, f"{name} ({day})", due, board)
    return (
        f"Make a line plot of {METRIC[metric]} from {day_name(since)} up to today, and find the day in it on which it "
        f"was lowest. Add a backlog task for {person.first} on the {board} board, due {full_day(due)}, called "
        f"'{name} (YYYY-MM-DD)' with that day."
    )


@template(_D, 4)
def cancel_and_tell(s: Story) -> str:
    day, (subject, body) = s.workday(), s.rng.choice(NOTES)
    found = s.day_events(day)
    guests = [event["participant_email"] for event in found]
    s.need(len(found) > 1 and len(set(guests)) == len(guests))
    for event in found:
        s.write("calendar_delete_event", event_id=event["event_id"])
        s.send(event["participant_email"], subject, body)
    return (
        f"Cancel all my events on {full_day(day)} and send each participant an email titled '{subject}' saying '{body}'"
    )


@template(_D, 5)
def nested_everything(s: Story) -> str:
    person, limit, since = s.member(), s.rng.randint(1, 4), s.past_day(30)
    day, name, (subject, body) = s.workday(), s.rng.choice(MEETINGS), s.rng.choice(NOTES)
    if len(s.late_tasks(person)) <= limit:
        mails = s.facts.mails(sender=person.email)
        s.need(mails)
        s.last_mail(person)
        s.say(mails[0]["subject"])
    elif s.past_events(person, since):
        s.send(person.email, subject, body)
    else:
        s.meet(person, name, s.first_free(day, 60), 60)
        s.send(person.email, name, body)
    return (
        f"If {person.first} has at most {limit} overdue tasks (due before today, not completed), change nothing and "
        f"reply only with the subject of their latest email. With more: if I have met them since {day_name(since)} "
        f"(that day included), send them an email titled '{subject}' saying '{body}' If I have not, book an hour with "
        f"them called '{name}' at the earliest time I am free on {full_day(day)} and send them an email titled "
        f"'{name}' saying '{body}'"
    )


@template(_D, 5)
def leave_of_absence(s: Story) -> str:
    person = s.member()
    to = s.other(person, s.company.team)
    tasks, (subject, body) = s.tasks_of(person, where="In Progress"), s.rng.choice(NOTES)
    coming = s.coming_events(person)
    s.need(tasks and coming and len(tasks) + len(coming) <= 8)
    for task in tasks:
        s.set_task(task, "assigned_to_email", to.email)
    for event in coming:
        s.write("calendar_delete_event", event_id=event["event_id"])
    s.send(to.email, subject, body)
    return (
        f"{person.first} is away from tomorrow: {to.first} takes over their tasks in progress, all meetings that I "
        f"still have with {person.first} are cancelled, and {to.first} gets an email titled '{subject}' saying "
        f"'{body}'"
    )


@template(_D, 5)
def metric_decides_leads(s: Story) -> str:
    metric, since, seller = s.rng.choice(("total_visits", "user_engaged")), s.past_day(30), s.seller()
    limit = s.rng.randint(10, 24) if metric == "total_visits" else s.rng.randint(6, 16)
    status, (subject, body) = s.rng.choice(STATUSES), s.rng.choice(NOTES)
    product = s.rng.choice(PRODUCTS)
    found = s.customers(seller=seller, status=status, product=product)
    s.need(0 < len(found) <= 6)
    if max(s.metric(metric, since).values()) > limit:
        for customer in found:
            s.drop_customer(customer)
        s.send(seller.email, subject, body)
    else:
        s.say(", ".join(sorted(customer["customer_name"] for customer in found)))
    return (
        f"If {METRIC[metric]} was more than {limit} on any day since {day_name(since)} (that day included), delete the "
        f"customers of {seller.first} with status {status} that are interested in {product}, and send {seller.first} "
        f"an email titled '{subject}' saying '{body}' Otherwise change nothing and reply only with the names of these "
        "customers in alphabetical order, separated by a comma and a space."
    )


@template(_D, 5)
def namesake_week(s: Story) -> str:
    person, name = s.namesake(), s.rng.choice(MEETINGS)
    day, since = s.workday(), s.past_day(21)
    mails = s.recent_mails(person, since)
    if mails:
        s.write("email_reply_email", email_id=mails[0]["email_id"], body=f"Let us talk: {name}")
        s.meet(person, name, s.first_free(day, 30), 30)
    else:
        s.send(person.email, name, "I have not heard from you for a while.")
    return (
        f"Has {person.first} {person.last} sent me an email since {day_name(since)} (that day included)? If so, reply "
        f"to the newest with 'Let us talk: {name}' and book 30 minutes with them called '{name}' at the earliest time "
        f"I am free on {full_day(day)}. If not, send them an email titled '{name}' saying 'I have not heard from you "
        "for a while.'"
    )
