"""Customer relationship manager: search, add, update and delete customers."""

from __future__ import annotations

from typing import Any

from environments.workplace.company import PRODUCTS, STATUSES
from environments.workplace.desk import Desk
from environments.workplace.tables import CUSTOMERS
from environments.workplace.tools.matching import between, contains
from environments.workplace.tools.paging import page_of
from gym_core.tools import tool

_FIELDS = (
    "customer_name", "assigned_to_email", "customer_email", "customer_phone", "last_contact_date", "product_interest",
    "status", "notes", "follow_up_by",
)  # fmt: skip


def _choices(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


@tool(read_only=True)
def search_customers(
    desk: Desk,
    customer_name: str = "",
    customer_email: str = "",
    product_interest: str = "",
    status: str = "",
    assigned_to_email: str = "",
    last_contact_date_min: str = "",
    last_contact_date_max: str = "",
    follow_up_by_min: str = "",
    follow_up_by_max: str = "",
    page: int = 1,
    page_size: int = 5,
) -> Any:
    """Search customers that fit every argument given.

    Args:
        customer_name: text in the name
        customer_email: text in the email address
        product_interest: Software, Hardware, Services, Consulting or Training
        status: Qualified, Won, Lost, Lead or Proposal
        assigned_to_email: text in the address of the person it is assigned to
        last_contact_date_min: earliest last contact, YYYY-MM-DD
        last_contact_date_max: latest last contact, YYYY-MM-DD
        follow_up_by_min: earliest follow-up, YYYY-MM-DD
        follow_up_by_max: latest follow-up, YYYY-MM-DD
        page: page of the result, from 1
        page_size: customers on a page
    """
    texts = {
        "customer_name": customer_name,
        "customer_email": customer_email,
        "product_interest": product_interest,
        "status": status,
        "assigned_to_email": assigned_to_email,
    }
    ranges = {
        "last_contact_date": (last_contact_date_min, last_contact_date_max),
        "follow_up_by": (follow_up_by_min, follow_up_by_max),
    }
    if not any((*texts.values(), *(bound for bounds in ranges.values() for bound in bounds))):
        return "No search parameters provided. Please provide at least one parameter."
    found = [
        customer
        for customer in desk.rows(CUSTOMERS)
        if all(not text or contains(customer[field], text) for field, text in texts.items())
        and all(not any(bounds) or between(customer[field], *bounds) for field, bounds in ranges.items())
    ]
    result = page_of(found, "customers", page, page_size)
    return result if found else "No customers found."


@tool
def update_customer(desk: Desk, customer_id: str, field: str, new_value: str) -> Any:
    """Change one field of a customer.

    Args:
        customer_id: id of the customer
        field: customer_name, assigned_to_email, customer_email, customer_phone, last_contact_date, product_interest, status, notes or follow_up_by
        new_value: the new value
    """  # noqa: E501
    if not customer_id or not field or not new_value:
        return "Customer ID, field, or new value not provided."
    if field == "status" and new_value not in STATUSES:
        return f"Status not valid. Please choose from: {_choices(STATUSES)}"
    if field == "product_interest" and new_value not in PRODUCTS:
        return f"Product interest not valid. Please choose from: {_choices(PRODUCTS)}"
    if field in ("customer_email", "assigned_to_email"):
        new_value = new_value.lower()
    if desk.get(CUSTOMERS, customer_id) is None:
        return "Customer not found."
    if field not in _FIELDS and (desk.fixed_keys or field != "customer_id"):
        return f"Field not valid. Please choose from: {_choices(_FIELDS)}"
    desk.update(CUSTOMERS, customer_id, field, new_value)
    return "Customer updated successfully."


@tool
def add_customer(
    desk: Desk,
    customer_name: str,
    assigned_to_email: str,
    status: str,
    customer_email: str | None = None,
    customer_phone: str | None = None,
    last_contact_date: str | None = None,
    product_interest: str | None = None,
    notes: str = "",
    follow_up_by: str | None = None,
) -> Any:
    """Add a customer; answers the id.

    Args:
        customer_name: full name
        assigned_to_email: address of the person who looks after the customer
        status: Qualified, Won, Lost, Lead or Proposal
        customer_email: email address
        customer_phone: phone number
        last_contact_date: YYYY-MM-DD
        product_interest: Software, Hardware, Services, Consulting or Training
        notes: free text
        follow_up_by: YYYY-MM-DD
    """
    if not all((customer_name, assigned_to_email, status)):
        return "Please provide all required fields: customer_name, assigned_to_email, status."
    values = {
        "assigned_to_email": assigned_to_email.lower(),
        "customer_name": customer_name,
        "customer_email": customer_email.lower() if customer_email else customer_email,
        "customer_phone": customer_phone,
        "last_contact_date": last_contact_date,
        "product_interest": product_interest,
        "status": status,
        "follow_up_by": follow_up_by,
        "notes": notes,
    }
    key = str(int(desk.highest(CUSTOMERS) or "") + 1).zfill(8)
    desk.append(CUSTOMERS, {"customer_id": key, **values})
    return key


@tool
def delete_customer(desk: Desk, customer_id: str) -> Any:
    """Delete a customer.

    Args:
        customer_id: id of the customer
    """
    if not customer_id:
        return "Customer ID not provided."
    return "Customer deleted successfully." if desk.delete(CUSTOMERS, customer_id) else "Customer not found."
