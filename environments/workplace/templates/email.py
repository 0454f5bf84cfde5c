"""Templates about mail."""

from __future__ import annotations

from datetime import timedelta

from environments.workplace.company import TODAY
from environments.workplace.templates.phrases import NOTES, REPLIES
from environments.workplace.templates.story import Story, day_name, template

_D = "email"


@template(_D, 0, ("email_delete_email", "email_reply_email"))
def delete_by_id(s: Story) -> str:
    mail = s.rng.choice(s.facts.mails())
    s.write("email_delete_email", email_id=mail["email_id"])
    return s.rng.choice(("Delete email {i}.", "Remove email {i}.", "Email {i} can go.")).format(i=mail["email_id"])


@template(_D, 0, ("email_reply_email", "email_delete_email"))
def reply_by_id(s: Story) -> str:
    mail, text = s.rng.choice(s.facts.mails()), s.rng.choice(("Yes", "No", "Thanks", "Done", "Later"))
    s.write("email_reply_email", email_id=mail["email_id"], body=text)
    return s.rng.choice(("Reply to email {i}: {t}", "Answer email {i} with: {t}")).format(i=mail["email_id"], t=text)


@template(_D, 0, ("email_forward_email", "email_delete_email"))
def forward_by_id(s: Story) -> str:
    mail, person = s.rng.choice(s.facts.mails()), s.rng.choice(s.company.people)
    s.write("email_forward_email", email_id=mail["email_id"], recipient=person.email)
    return f"Forward email {mail['email_id']} to {person.email}."


@template(_D, 1)
def write_to_colleague(s: Story) -> str:
    person, (subject, body) = s.colleague(), s.rng.choice(NOTES)
    s.send(person.email, subject, body)
    return f"Send {person.first} an email titled '{subject}' saying '{body}'"


@template(_D, 1)
def delete_last_from(s: Story) -> str:
    person = s.colleague()
    s.write("email_delete_email", email_id=s.last_mail(person)["email_id"])
    return s.rng.choice(("Delete the last email {p} sent me.", "Please remove {p}'s latest email.")).format(
        p=person.first
    )


@template(_D, 1)
def reply_to_last_from(s: Story) -> str:
    person, body = s.colleague(), s.rng.choice(REPLIES)
    s.write("email_reply_email", email_id=s.last_mail(person)["email_id"], body=body)
    return f"Reply to {person.first}'s latest email with '{body}'"


@template(_D, 2)
def reply_about(s: Story) -> str:
    person, body = s.colleague(), s.rng.choice(REPLIES)
    subject = s.rng.choice(s.facts.mails(sender=person.email))["subject"]
    s.read("email_search_emails", query=f"{person.email} {subject}", page_size=100)
    found = s.facts.mails(sender=person.email, subject=subject)
    s.write("email_reply_email", email_id=found[0]["email_id"], body=body)
    return f"Reply to {person.first}'s last email about '{subject}' with '{body}'"


@template(_D, 2)
def forward_last(s: Story) -> str:
    person = s.colleague()
    to = s.other(person, s.company.people)
    s.write("email_forward_email", email_id=s.last_mail(person)["email_id"], recipient=to.email)
    return f"Forward the most recent email from {person.first} to {to.first}."


@template(_D, 2)
def delete_all_since(s: Story) -> str:
    person, day = s.colleague(), s.past_day(20)
    found = s.recent_mails(person, day)
    s.need(1 < len(found) <= 6)
    for mail in found:
        s.write("email_delete_email", email_id=mail["email_id"])
    return f"Delete every email that {person.first} has sent me since {day_name(day)} (that day included)."


@template(_D, 3)
def write_if_silent(s: Story) -> str:
    person, days, (subject, body) = s.colleague(), s.rng.randint(2, 9), s.rng.choice(NOTES)
    found = s.recent_mails(person, TODAY - timedelta(days=days - 1))
    if found:
        s.say(found[0]["sent_datetime"])
    else:
        s.send(person.email, subject, body)
    return (
        f"If {person.first} has sent me no email in the last {days} days (today is the last of them), send them one "
        f"titled '{subject}' saying '{body}'. Otherwise change nothing and reply only with the date and time of their "
        "latest email, as YYYY-MM-DD HH:MM:SS."
    )


@template(_D, 3)
def count_mails(s: Story) -> str:
    person, day = s.colleague(), s.past_day(60)
    found = s.recent_mails(person, day)
    s.need(len(found) > 3)
    s.say(found[-1]["subject"])
    return (
        f"Which is the oldest email that {person.first} has sent me since {day_name(day)} (that day included)? "
        "Change nothing, reply only with its subject."
    )


@template(_D, 4)
def forward_or_reply(s: Story) -> str:
    person, limit, body = s.colleague(), s.rng.randint(3, 9), s.rng.choice(REPLIES)
    to, day = s.other(person, s.company.people), s.past_day(25)
    found = s.recent_mails(person, day)
    s.need(found)
    if len(found) >= limit:
        for mail in found[:2]:
            s.write("email_forward_email", email_id=mail["email_id"], recipient=to.email)
    else:
        s.write("email_reply_email", email_id=found[0]["email_id"], body=body)
    return (
        f"Count {person.first}'s emails since {day_name(day)} (that day included). If there are {limit} or more, "
        f"forward the two newest to {to.first}, otherwise reply to the newest with '{body}'"
    )


@template(_D, 5)
def namesakes_last_word(s: Story) -> str:
    person = s.namesake()
    twin = next(p for p in s.company.people if p.first == person.first and p != person)
    mine, theirs = s.last_mail(person), s.last_mail(twin)
    body = s.rng.choice(REPLIES)
    late, early = (mine, theirs) if mine["sent_datetime"] > theirs["sent_datetime"] else (theirs, mine)
    s.write("email_reply_email", email_id=late["email_id"], body=body)
    s.write("email_delete_email", email_id=early["email_id"])
    return (
        f"There are two people called {person.first}. Take the latest email of each: reply to the newer of the two "
        f"with '{body}' and delete the older one."
    )
