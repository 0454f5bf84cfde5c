"""Mail: read, search, send, delete, forward, reply. The clock stands still, so every new mail has the same time."""

from __future__ import annotations

from typing import Any

from environments.workplace.company import NOW
from environments.workplace.desk import Desk, Row
from environments.workplace.tables import COLUMNS, EMAILS
from environments.workplace.tools.matching import MAX_QUERY
from environments.workplace.tools.paging import page_of
from environments.workplace.tools.timestamps import timestamp
from gym_core.tools import tool


@tool(read_only=True)
def get_email_information_by_id(desk: Desk, email_id: str, field: str) -> Any:
    """Read one field of an email.

    Args:
        email_id: id of the email
        field: email_id, inbox/outbox, sender/recipient, subject, sent_datetime or body
    """
    if not email_id:
        return "Email ID not provided."
    if not field:
        return "Field not provided."
    mail = desk.get(EMAILS, email_id)
    if mail is None:
        return "Email not found."
    if field not in mail:
        return f"Field '{str(field)[:100]}' not found. Available fields: {', '.join(COLUMNS[EMAILS])}"
    return {field: mail[field]}


@tool(read_only=True)
def search_emails(
    desk: Desk, query: str = "", date_min: str = "", date_max: str = "", page: int = 1, page_size: int = 5
) -> Any:
    """Search emails whose subject, body or sender contain every word of the query, newest first.

    Args:
        query: words to look for, in any order
        date_min: first day, YYYY-MM-DD
        date_max: last day, YYYY-MM-DD
        page: page of the result, from 1
        page_size: emails on a page
    """
    try:
        return _search(desk, query, date_min, date_max, page, page_size)
    except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        return f"Error searching emails: {error}"


def _search(desk: Desk, query: str, date_min: str, date_max: str, page: int, page_size: int) -> Any:
    if len(query) > MAX_QUERY:
        raise ValueError(f"a query has at most {MAX_QUERY} characters")
    words = query.lower().split()
    found = [mail for mail in desk.rows(EMAILS) if _has(mail, words)]
    found.sort(key=lambda mail: timestamp(mail["sent_datetime"]))
    found.reverse()  # so that of mails sent in the same second the later one comes first
    if found and date_min:
        first = timestamp(date_min).date()
        found = [mail for mail in found if timestamp(mail["sent_datetime"]).date() >= first]
    if found and date_max:
        last = timestamp(date_max).date()
        found = [mail for mail in found if timestamp(mail["sent_datetime"]).date() <= last]
    result = page_of(found, "emails", page, page_size)
    return result if found else "No emails found."


def _has(mail: Row, words: list[str]) -> bool:
    text = f"{mail['subject']} {mail['body']} {mail['sender/recipient']}".lower()
    return all(word in text for word in words)


@tool
def send_email(desk: Desk, recipient: str, subject: str, body: str) -> Any:
    """Send an email.

    Args:
        recipient: email address
        subject: subject line
        body: text of the email
    """
    if not recipient or not subject or not body:
        return "Recipient, subject, or body not provided."
    if "@" not in recipient or "." not in recipient:
        return "Invalid recipient email address."
    try:
        highest = desk.highest(EMAILS)
        key = "1" if highest is None else str(int(highest) + 1)
        desk.append(
            EMAILS,
            {
                "email_id": key,
                "inbox/outbox": "outbox",
                "sender/recipient": recipient.lower(),
                "subject": subject,
                "sent_datetime": NOW,
                "body": body,
            },
        )
    except (TypeError, ValueError, AttributeError) as error:
        return f"Error sending email: {error}"
    return "Email sent successfully."


@tool
def delete_email(desk: Desk, email_id: str) -> Any:
    """Delete an email.

    Args:
        email_id: id of the email
    """
    if not email_id:
        return "Email ID not provided."
    return "Email deleted successfully." if desk.delete(EMAILS, email_id) else "Email not found."


@tool
def forward_email(desk: Desk, email_id: str, recipient: str) -> Any:
    """Forward an email to someone; the subject gets FW: in front.

    Args:
        email_id: id of the email
        recipient: email address
    """
    if not email_id or not recipient:
        return "Email ID or recipient not provided."
    if "@" not in recipient or "." not in recipient:
        return "Invalid recipient email address."
    mail = desk.get(EMAILS, email_id)
    if mail is None:
        return "Email not found."
    result = str(send_email(desk, recipient, f"FW: {mail['subject']}", mail["body"]))
    return result if "Error" in result or "Invalid" in result else "Email forwarded successfully."


@tool
def reply_email(desk: Desk, email_id: str, body: str) -> Any:
    """Reply to an email; the subject gets RE: in front.

    Args:
        email_id: id of the email
        body: text of the reply
    """
    if not email_id or not body:
        return "Email ID or body not provided."
    mail = desk.get(EMAILS, email_id)
    if mail is None:
        return "Email not found."
    result = str(send_email(desk, mail["sender/recipient"], f"RE: {mail['subject']}", body))
    return result if "Error" in result or "Invalid" in result else "Email replied successfully."
