"""Templates about customers."""

from __future__ import annotations

from datetime import timedelta

from environments.workplace.company import PRODUCTS, STATUSES, TODAY
from environments.workplace.templates.phrases import CLIENTS
from environments.workplace.templates.story import Story, day_name, template

_D = "customer_relationship_manager"
_UPDATE = "customer_relationship_manager_update_customer"
_DELETE = "customer_relationship_manager_delete_customer"
_FEW = 6


@template(_D, 0, (_UPDATE, _DELETE))
def status_by_id(s: Story) -> str:
    customer = s.rng.choice(s.facts.customers())
    status = s.rng.choice([one for one in STATUSES if one != customer["status"]])
    s.set_customer(customer, "status", status)
    return f"Set the status of customer {customer['customer_id']} to {status}."


@template(_D, 0, (_DELETE, _UPDATE))
def drop_by_id(s: Story) -> str:
    customer = s.rng.choice(s.facts.customers())
    s.drop_customer(customer)
    return s.rng.choice(("Delete customer {i}.", "Remove customer {i}.")).format(i=customer["customer_id"])


@template(_D, 1)
def new_lead(s: Story) -> str:
    person, name, product = s.seller(), s.rng.choice(CLIENTS), s.rng.choice(PRODUCTS)
    s.write(
        "customer_relationship_manager_add_customer",
        customer_name=name,
        assigned_to_email=person.email,
        status="Lead",
        product_interest=product,
    )
    return f"Add {name} as a new lead, interested in {product}, and assign them to {person.first}."


@template(_D, 1)
def set_status(s: Story) -> str:
    customer = s.rng.choice(s.facts.customers())
    status = s.rng.choice([one for one in STATUSES if one != customer["status"]])
    s.read("customer_relationship_manager_search_customers", customer_name=customer["customer_name"])
    s.set_customer(customer, "status", status)
    return f"{customer['customer_name']} is now {status}. Update the customer database."


@template(_D, 1)
def forget(s: Story) -> str:
    customer = s.rng.choice(s.facts.customers())
    s.read("customer_relationship_manager_search_customers", customer_name=customer["customer_name"])
    s.drop_customer(customer)
    return f"Delete {customer['customer_name']} from the customer database."


@template(_D, 2)
def reassign_leads(s: Story) -> str:
    person, product = s.seller(), s.rng.choice(PRODUCTS)
    to = s.other(person, s.company.sellers)
    found = s.customers(seller=person, status="Lead", product=product)
    s.need(0 < len(found) <= _FEW)
    for customer in found:
        s.set_customer(customer, "assigned_to_email", to.email)
    return f"{to.first} takes over all leads of {person.first} that are interested in {product}. Reassign them."


@template(_D, 2)
def delete_by_stage(s: Story) -> str:
    person, status, product = s.seller(), s.rng.choice(("Won", "Lost")), s.rng.choice(PRODUCTS)
    found = s.customers(seller=person, status=status, product=product)
    s.need(0 < len(found) <= _FEW)
    for customer in found:
        s.drop_customer(customer)
    return f"Delete the customers of {person.first} with status {status} that are interested in {product}."


@template(_D, 2)
def give_up_silent(s: Story) -> str:
    product, weeks = s.rng.choice(PRODUCTS), s.rng.randint(3, 7)
    day = TODAY - timedelta(weeks=weeks)
    found = s.customers(status="Proposal", product=product, silent_since=day)
    s.need(0 < len(found) <= _FEW)
    for customer in found:
        s.set_customer(customer, "status", "Lost")
    return (
        f"Move every customer with a {product} proposal whose last contact was before {day_name(day)} to the status "
        "Lost."
    )


@template(_D, 3)
def delete_or_name(s: Story) -> str:
    person, status, product = s.seller(), s.rng.choice(STATUSES), s.rng.choice(PRODUCTS)
    limit, found = s.rng.randint(1, 3), s.customers(seller=person, status=status, product=product)
    s.need(found)
    if len(found) <= limit:
        for customer in found:
            s.drop_customer(customer)
    else:
        s.say(", ".join(sorted(customer["customer_name"] for customer in found)))
    return (
        f"Look up the customers of {person.first} with status {status} that are interested in {product}. If there are "
        f"at most {limit}, delete them. Otherwise change nothing and reply only with their names in alphabetical "
        "order, separated by a comma and a space."
    )


@template(_D, 3)
def lead_for_the_freer(s: Story) -> str:
    one, name = s.seller(), s.rng.choice(CLIENTS)
    two, status = s.other(one, s.company.sellers), s.rng.choice(STATUSES)
    loads = {person: len(s.customers(seller=person, status=status)) for person in (one, two)}
    s.need(loads[one] != loads[two])
    person = min(loads, key=loads.__getitem__)
    s.write(
        "customer_relationship_manager_add_customer",
        customer_name=name,
        assigned_to_email=person.email,
        status="Lead",
    )
    return (
        f"Add {name} as a new lead and assign them to {one.first} or {two.first}: whoever has fewer customers with "
        f"status {status}."
    )


@template(_D, 3)
def longest_silence(s: Story) -> str:
    person, status = s.seller(), s.rng.choice(STATUSES)
    found = sorted(s.customers(seller=person, status=status), key=lambda customer: customer["last_contact_date"])
    s.need(len(found) > 2 and found[0]["last_contact_date"] != found[1]["last_contact_date"])
    s.say(found[0]["customer_email"])
    return (
        f"Which customer of {person.first} with status {status} have we not contacted for the longest time? Change "
        "nothing, reply only with the customer's email address."
    )


@template(_D, 4)
def promote_and_assign(s: Story) -> str:
    product, day = s.rng.choice(PRODUCTS), s.past_day(20)
    person = s.seller()
    found = [
        customer
        for customer in s.customers(status="Qualified", product=product)
        if customer["last_contact_date"] >= str(day) and customer["assigned_to_email"] != person.email
    ]
    s.need(1 < len(found) <= _FEW)
    for customer in found:
        s.set_customer(customer, "status", "Proposal")
        s.set_customer(customer, "assigned_to_email", person.email)
    return (
        f"Qualified customers interested in {product} whose last contact was on {day_name(day)} or later, and who are "
        f"not with {person.first} yet, get a proposal: set their status to Proposal and assign them to {person.first}."
    )


@template(_D, 4)
def split_by_phone(s: Story) -> str:
    person, status = s.seller(), s.rng.choice(STATUSES[:1] + STATUSES[3:])
    found = s.customers(seller=person, status=status)
    without = [customer for customer in found if not customer["customer_phone"]]
    s.need(1 < len(without) <= _FEW)
    for customer in without:
        s.drop_customer(customer)
    return f"Delete every customer of {person.first} with status {status} for whom we have no phone number."
