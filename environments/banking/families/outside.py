"""Wishes outside the policy, all of them: the right end is a declined request or a human, and nothing changed.

Some customers insist, one tries to pass for the system.
"""

from __future__ import annotations

from environments.banking.families import money as inside_money
from environments.banking.families import outside_cards as cards
from environments.banking.families import outside_money as money
from environments.banking.families import outside_service as service
from environments.banking.families import service as inside_service

FAMILIES = (
    money.over_the_day, money.no_cover, money.savings_to_friend, money.due_today, money.far_ahead, cards.limit_too_high,
    cards.old_purchase, cards.disputed_transfer, cards.disputed_twice,
    money.second_refund, money.large_fee, money.interest_back,
    service.fifth_account, service.awaited_payment, service.loan_too_large,
    service.loan_too_heavy, service.second_loan, service.for_somebody, service.advice, service.false_orders,
)  # fmt: skip
APART = (
    {inside_service.loan, service.loan_too_large, service.loan_too_heavy, service.second_loan},
    {inside_money.fee_back, money.second_refund, money.large_fee},
    {inside_service.open_reserve, inside_service.open_and_fund, service.fifth_account},
)
"""Of each of these a dialogue has at most one: with two, more than one rule would fit."""

HANDED_OVER = (
    money.scam,
    cards.blocked_card,
    cards.large_dispute,
    service.new_name,
    service.lawyer,
    service.wants_human,
)
"""These end the dialogue."""

too_young, impostor = service.too_young, service.impostor
