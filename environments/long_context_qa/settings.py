"""What this environment is told, by variables of its own: a tokenizer to count with, and how long prompts may be.

PALAESTRA_LONG_CONTEXT_QA_TOKENIZER=/models/nano/tokenizer.json
PALAESTRA_LONG_CONTEXT_QA_MAX_TOKENS=262144
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from environments.long_context_qa.levels import DEFAULT_TOKENS, LEVELS
from gym_core.config import load

SECTION = "long_context_qa"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tokenizer` is the path of a tokenizer.json ("": an estimate, and rows say so); `max_tokens` opens levels."""

    tokenizer: str = ""
    max_tokens: int = DEFAULT_TOKENS

    def __post_init__(self) -> None:
        lowest, highest = LEVELS[4].tokens, LEVELS[-1].tokens
        if not lowest <= self.max_tokens <= highest:
            raise ValueError(f"`max_tokens` is {self.max_tokens}, but must be {lowest} to {highest}")


@lru_cache(maxsize=1)
def settings() -> Settings:
    """From the variables of this process. Raises `BadRequest` naming the one that does not fit."""
    return load(Settings, section=SECTION)
