"""The block of added tokens at the start of the vocabulary, and how a forged one is told from a real one.

Ids and names follow the released Nemotron 3 Nano tokenizer: 1,000 added tokens, of which a dozen have a name and the
rest are `<SPECIAL_n>`. *Special* tokens are dropped from decoded text on request; the think and tool tags are control
tokens too but stay visible in text.

Text that a user, a tool or a dataset wrote may spell such a name. Before it enters the chat template every spelled name
is *defused*: a `BREAK` is put inside it. `BREAK` is a lone surrogate, so no valid text contains it, and the template
carries it along untouched. Whatever name is still whole after rendering was written by the template itself.
"""

import re

UNK, BOS, EOS = 0, 1, 2
IM_START, IM_END = 10, 11
THINK, END_THINK, TOOL_CALL, END_TOOL_CALL, TOOL_RESPONSE, END_TOOL_RESPONSE = 12, 13, 14, 15, 16, 17
STOP_IDS = frozenset({EOS, IM_END})

NAMES = {
    UNK: "<unk>",
    BOS: "<s>",
    EOS: "</s>",
    IM_START: "<|im_start|>",
    IM_END: "<|im_end|>",
    THINK: "<think>",
    END_THINK: "</think>",
    TOOL_CALL: "<tool_call>",
    END_TOOL_CALL: "</tool_call>",
    TOOL_RESPONSE: "<tool_response>",
    END_TOOL_RESPONSE: "</tool_response>",
}
VISIBLE = range(THINK, END_TOOL_RESPONSE + 1)
MIN_RESERVED = END_TOOL_RESPONSE + 1

BREAK = "\udfff"

_SPECIAL = r"</?s>|<unk>|<\|im_(?:start|end)\|>|<SPECIAL_[0-9]+>"
_TAGS = r"</?(?:think|tool_call|tool_response)>"
SPECIAL_NAME = re.compile(_SPECIAL)
CONTROL_NAME = re.compile(f"{_SPECIAL}|{_TAGS}")
_SPLIT = re.compile(f"({CONTROL_NAME.pattern})")


def control_block(reserved: int) -> list[tuple[str, bool]]:
    """The first `reserved` added tokens in id order as (name, special). Raises ValueError below 18."""
    if reserved < MIN_RESERVED:
        raise ValueError(
            f"reserved={reserved} leaves no room for the named control tokens; use at least {MIN_RESERVED}"
        )
    return [(NAMES.get(i, f"<SPECIAL_{i}>"), i not in VISIBLE) for i in range(reserved)]


def valid_unicode(text: str) -> str:
    """`text` with lone surrogates (they have no UTF-8 form) replaced by U+FFFD; unchanged when there are none."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def defuse(text: str, names: re.Pattern[str] = CONTROL_NAME) -> str:
    """Valid unicode in which every spelled control name is broken. No two names overlap, so one pass is enough."""
    return names.sub(lambda name: name[0][0] + BREAK + name[0][1:], valid_unicode(text))


def defuse_label(text: str) -> str:
    """As `defuse`, for a string that the template puts between `<` and `>` and that could complete a name there."""
    return BREAK + defuse(text) + BREAK


def split_control(marked: str) -> list[tuple[str, bool]]:
    """(text, is control token) pieces of marked text, BREAKs removed, empty pieces left out."""
    parts = _SPLIT.split(marked)
    pieces = ((part.replace(BREAK, ""), index % 2 == 1) for index, part in enumerate(parts))
    return [piece for piece in pieces if piece[0]]
