"""Fields that other servers serve and this one does not: refused by name, unless they ask for nothing.

A field that would change what is sampled or answered must not be lost silently. Fields that are no such wish (`user`,
`service_tier`, `prompt_cache_key`, …) are ignored.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gym_core.errors import BadRequest

SAMPLING: dict[str, tuple[Any, ...]] = {
    "top_k": (-1, 0),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "min_tokens": (0,),
    "bad_words": ([],),
    "allowed_token_ids": (),
    "use_beam_search": (False,),
    "prompt_logprobs": (),
    "truncate_prompt_tokens": (),
    "skip_special_tokens": (True,),
    "include_stop_str_in_output": (False,),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "guided_json_object": (False,),
}
"""Of all generating routes: the values of a field that ask for nothing."""

CHAT: dict[str, tuple[Any, ...]] = {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "chat_template": (),
    "documents": ([],),
    "echo": (False,),
    "include_reasoning": (True,),
}

RESPONSES: dict[str, tuple[Any, ...]] = {
    "previous_response_id": (),
    "conversation": (),
    "background": (False,),
    "prompt": (),
    "truncation": ("disabled",),
    "context_management": ([],),
    "n": (1,),
}

TOKENIZE = {name: CHAT[name] for name in ("add_generation_prompt", "continue_final_message", "chat_template")}

_HINTS = {
    "functions": "use `tools`",
    "previous_response_id": "nothing is stored here: send the earlier items in `input`",
    "conversation": "nothing is stored here: send the earlier items in `input`",
    "truncation": 'use "disabled": input that is longer than the context is refused, never cut',
} | dict.fromkeys(("guided_regex", "guided_choice", "guided_grammar", "guided_json_object"), "use `structured_outputs`")


class UnservedSampling(msgspec.Struct, kw_only=True):
    """`SAMPLING` as fields of a body."""

    top_k: Any = None
    min_p: Any = None
    repetition_penalty: Any = None
    length_penalty: Any = None
    min_tokens: Any = None
    bad_words: Any = None
    allowed_token_ids: Any = None
    use_beam_search: Any = None
    prompt_logprobs: Any = None
    truncate_prompt_tokens: Any = None
    skip_special_tokens: Any = None
    include_stop_str_in_output: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None
    guided_json_object: Any = None


def refuse(params: msgspec.Struct, accepted: dict[str, tuple[Any, ...]]) -> None:
    """Raises `BadRequest` for a field that asks for something this server does not do; None always passes."""
    for name, values in accepted.items():
        value = getattr(params, name)
        if value is not None and value not in values:
            allowed = " or ".join(msgspec.json.encode(v).decode() for v in values)
            hint = _HINTS.get(name, f"leave it out or use {allowed}" if allowed else "leave it out")
            raise BadRequest(f"{name}={value!r:.80} is not supported here", field=name, hint=hint)
