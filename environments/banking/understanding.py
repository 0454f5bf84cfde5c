"""What an agent's message asks the customer for: slots, a yes, or whether there is anything else. Patterns only.

"May I have your date of birth?"                 slot birth_date
"Shall I move 20.00 from A1001 to A1002?"        a yes
"Your card is frozen. Anything else?"            nothing but the end
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_TEXT = 4_000
_SENTENCE = re.compile(r"[^.?!\n;]*(?:\.(?=\w)[^.?!\n;]*)*[.?!\n;]?")
_REQUEST = re.compile(
    r"\?|\b(please|could you|can you|would you|may i|can i|could i|i(?:'ll| will)? need|provide|tell me|"
    r"let me know|share|give me|send me|state|specify)\b"
)
_MORE = re.compile(r"\b(anything|something|what) else\b|\bany other\b|\bfurther (help|questions?|assistance)\b")
_CONFIRM = re.compile(
    r"\b(shall|should) (i|we)\b|\bwould you like (me|us) to\b|\bdo you want (me|us) to\b|"
    r"\b(is|are) (that|this|these|it|all|everything)( all)? (correct|right|ok|okay|fine)\b|"
    r"\bdo you (confirm|agree)\b|\b(go ahead|proceed|correct|confirm|okay|ok|right)\s*\?|\bare you sure\b|"
    r"\bplease confirm (that|this|the (transfer|payment|amount|details))\b|\byes or no\b|"
    r"\b(may|can) (i|we) (proceed|go ahead|continue|do that|make)\b|\bhappy for me to\b|\bwant to proceed\b"
)
_WHICH = re.compile(
    r"\W*(?:and |so |then )?(?:(?:to|from|on|for|over|at|into) )?(?:what|which|how|whom?|when|where|why)\b"
)
SLOTS: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "customer_id": r"\bcustomer (number|id|no)\b|\bclient (number|id)\b|\bidentity\b|\bidentify\b|\bverify you\b",
        "birth_date": r"\bbirth|\bborn\b|\bdob\b|\bidentity\b|\bidentify\b|\bverify you\b",
        "security_word": r"\b(security|secret|code) ?word\b|\bpass ?(word|phrase)\b|\bidentity\b|\bidentify\b|"
        r"\bverify you\b",
        "amount": r"\bhow much\b|\b(what|which|the|exact|new) (\w+ )?(amount|sum|limit)\b",
        "source": r"\b(from|of) (which|what)\b|\b(which|what) (\w+ )?account\b|\bsource\b|\baccount (number|id)\b",
        "target": r"\b(to|into) (which|what|whom)\b|\brecipient|\bdestination\b|\btarget\b|\bpayee\b|\bwho(m)? (should|"
        r"do|is|to|are)\b|\bwhich account\b",
        "card": r"\b(which|what) (\w+ )?card\b|\bcard (number|id)\b|\blast (four|4)\b|\bdigits\b|\bending\b",
        "entry": r"\b(which|what) (\w+ )?(transaction|charge|purchase|entry|fee|payment|item|dispute)\b|\bmerchant\b|"
        r"\bshop\b",
        "day": r"\bwhen\b|\b(which|what|the|due|new) (\w+ )?(date|day)\b",
        "reason": r"\bwhy\b|\breason\b|\bwhat happened\b|\bwrong with\b|\brecogni[sz]e\b",
        "value": r"\b(new|correct) (\w+ )?(email|e-mail|mail|phone|number|address)\b|\bwhat should it be\b",
        "months": r"\bmonths\b|\bterm\b|\bhow long\b|\bduration\b|\bperiod\b",
        "income": r"\bincome\b|\bsalary\b|\bearn",
        "kind": r"\b(which|what) (kind|type|sort)\b|\bchecking(,| or)|\bsavings(,| or)",
    }.items()
}
IDENTITY = ("customer_id", "birth_date", "security_word")


@dataclass(slots=True, frozen=True)
class Asked:
    """What a message asks for."""

    slots: frozenset[str] = frozenset()
    yes: bool = False
    more: bool = False
    question: bool = False


def asked(text: str) -> Asked:
    """Read a message of the agent, sentence by sentence; statements ask for nothing."""
    slots: set[str] = set()
    yes = more = question = False
    for found in _SENTENCE.finditer(" ".join(text[:MAX_TEXT].casefold().replace("’", "'").split(" "))):
        sentence = found[0]
        if not _REQUEST.search(sentence):
            continue
        question = True
        if _MORE.search(sentence):
            more = True
            continue
        named = {name for name, pattern in SLOTS.items() if pattern.search(sentence)}
        open_question = bool(named) and _WHICH.match(sentence) is not None
        if _CONFIRM.search(sentence) and not open_question and not named & set(IDENTITY):
            yes = True
        else:
            slots |= named
    return Asked(frozenset(slots), yes, more, question)
