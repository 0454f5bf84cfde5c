"""From a conversation to text with known control tokens, and from one turn to the exact tokens that follow it.

`render` runs the Jinja chat template that is also shipped with every checkpoint, in a sandbox, over a copy of the
messages in which spelled control names are defused (see `control_tokens`). So there is one description of the format,
and no user, tool result or tool schema can end a turn or open a tool call. An assistant's own text may carry think and
tool tags: it wrote them.

`continuation` says what to append to a history of token ids so that it stays byte for byte what was generated, or that
the template rewrites that history (a new user message drops earlier reasoning) and a new trace has to begin.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from model.control_tokens import BREAK, CONTROL_NAME, IM_END, NAMES, SPECIAL_NAME, defuse, defuse_label, split_control
from model.responses import flatten_parts, messages_from_responses, tools_from_responses
from model.templates import default_template

__all__ = ["Rendered", "continuation", "demonstration", "messages_from_responses", "render", "tools_from_responses"]

Message = Mapping[str, Any]
_END = NAMES[IM_END]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered conversation, or a part of one. `marked` is its text with BREAKs inside spelled control names."""

    marked: str

    @property
    def text(self) -> str:
        """The text as transformers renders it."""
        return self.marked.replace(BREAK, "")

    @property
    def pieces(self) -> list[tuple[str, bool]]:
        """(text, is control token) in order, for `Tokenizer.encode_pieces`."""
        return split_control(self.marked)

    @property
    def thinking_open(self) -> bool:
        """Whether generation starts inside a think block."""
        return self.marked.endswith("<think>\n")


def render(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    enable_thinking: bool = True,
    add_generation_prompt: bool = True,
    truncate_history_thinking: bool = True,
    reasoning_budget: int | None = None,
    template: str | None = None,
) -> Rendered:
    """Render chat messages (roles system, developer, user, assistant, tool) and tools, nested or flat.

    Assistant messages may hold `reasoning_content` and `tool_calls` whose `function.arguments` is a JSON string or a
    dict. With `truncate_history_thinking`, reasoning before the last user message is dropped. `reasoning_budget` is
    told to the model in the last user message. `template` is another Jinja source, such as a released checkpoint's own.
    Raises ValueError naming the message or tool that is malformed.
    """
    if not messages:
        raise ValueError("messages is empty; give at least one message")
    variables: dict[str, Any] = {
        "messages": [_message(message, f"messages[{i}]") for i, message in enumerate(messages)],
        "tools": _defuse_schema(tools_from_responses(tools)) or None,
        "add_generation_prompt": add_generation_prompt,
        "enable_thinking": enable_thinking,
        "truncate_history_thinking": truncate_history_thinking,
    }
    if reasoning_budget is not None:
        variables["reasoning_budget"] = reasoning_budget
    return Rendered(_compiled(template or default_template()).render(variables))


def continuation(
    previous_messages: Sequence[Message],
    new_messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    ended: bool = True,
    **options: Any,
) -> Rendered | None:
    """What to append after the tokens of `previous_messages`, whose last message is the generated one.

    `ended` says whether the generation emitted `<|im_end|>`; when it did not (cut by length) the result starts with it.
    `options` are those of `render`. None when the template would rewrite the history: begin a new trace with `render`.
    Raises ValueError when `previous_messages` does not end with an assistant message.
    """
    if not previous_messages or previous_messages[-1].get("role") != "assistant":
        raise ValueError("previous_messages must end with the assistant message that was generated")
    if options.get("template") is None:
        tools = None  # our template names tools in the system block alone, which both renderings share
    options = {**options, "add_generation_prompt": False}
    before = render(previous_messages, tools, **options).marked
    options["add_generation_prompt"] = True
    after = render([*previous_messages, *new_messages], tools, **options).marked
    if not after.startswith(before):
        return None
    return Rendered(("\n" if ended else _END + "\n") + after[len(before) :])


def demonstration(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None, **options: Any
) -> tuple[Rendered, Rendered]:
    """(prompt, reply) for supervised learning: exactly the prompt the policy will see, and the reply up to its end.

    The last message is the assistant's. Raises ValueError when the reply does not continue the prompt: with thinking
    enabled it needs `reasoning_content`, without it must have none.
    """
    prompt = render(messages[:-1], tools, **options, add_generation_prompt=True).marked
    whole = render(messages, tools, **options, add_generation_prompt=False).marked
    if messages[-1].get("role") != "assistant" or not whole.startswith(prompt):
        raise ValueError(
            "the last message is not a reply to this prompt: it must be the assistant's, "
            "with reasoning_content when enable_thinking is set and without it otherwise"
        )
    return Rendered(prompt), Rendered(whole[len(prompt) :].removesuffix("\n"))


def _message(message: Message, where: str) -> dict[str, Any]:
    """A copy for the template with content as one string, arguments as dicts, and control names defused."""
    role = message.get("role")
    content = flatten_parts(message.get("content"), f"{where}.content")
    if role in ("user", "tool"):
        return {"role": role, "content": defuse(content)}
    if role in ("system", "developer"):
        return {"role": "system", "content": defuse(content)}
    if role != "assistant":
        raise ValueError(f"{where}.role is {role!r}; use system, developer, user, assistant or tool")
    own: dict[str, Any] = {"role": role, "content": defuse(content, SPECIAL_NAME)}
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if reasoning:
        own["reasoning_content"] = defuse(flatten_parts(reasoning, f"{where}.reasoning_content"))
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise ValueError(f"{where}.tool_calls must be a list of calls, not {calls!r:.80}")
    if calls:
        own["tool_calls"] = [_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls)]
    return own


def _call(call: Mapping[str, Any], where: str) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise ValueError(f"{where} must be an object with a `function`, not {call!r:.80}")
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where}.function.name is {name!r}; a tool call needs a name")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError as error:
            raise ValueError(f"{where}.function.arguments is not JSON ({error})") from error
    if not isinstance(arguments or {}, Mapping):
        raise ValueError(f"{where}.function.arguments must be a JSON object, not {type(arguments).__name__}")
    values = {defuse_label(key): _defuse_schema(value) for key, value in (arguments or {}).items()}
    return {"type": "function", "function": {"name": defuse_label(name), "arguments": values}}


def _defuse_schema(value: Any) -> Any:
    """Defuse all strings of a JSON value; a key that would be a control name inside `<…>` or `</…>` is defused too."""
    if isinstance(value, str):
        return defuse(value)
    if isinstance(value, Mapping):
        return {_defuse_key(str(key)): _defuse_schema(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_defuse_schema(item) for item in value]
    return value


def _defuse_key(key: str) -> str:
    return defuse_label(key) if CONTROL_NAME.search(f"<{key}></{key}>") else defuse(key)


@lru_cache(maxsize=16)
def _compiled(source: str) -> jinja2.Template:
    """Compile a chat template under the settings that transformers uses, so that both render the same text."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    return environment.from_string(source)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    # Jinja's own filter escapes HTML characters, which belong in a prompt as they are.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> None:
    raise ValueError(message)
