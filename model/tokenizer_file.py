"""What is inside a `tokenizer.json`: the control block, the byte-level vocabulary, and the chat template beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from model.control_tokens import NAMES

NUM_BYTES = 256


def with_control(spec: dict[str, Any], block: list[tuple[str, bool]]) -> dict[str, Any]:
    """Put the control block in front of a learned vocabulary: every learned id moves up by its length."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    vocab = {name: i for i, (name, _) in enumerate(block)}
    vocab |= {token: i + len(block) for token, i in spec["model"]["vocab"].items()}
    added = [{"id": i, "content": name, **flags, "special": special} for i, (name, special) in enumerate(block)]
    return {**spec, "added_tokens": added, "model": {**spec["model"], "vocab": vocab}}


def without_control(spec: Mapping[str, Any], control: Mapping[str, int]) -> tokenizers.Tokenizer:
    """The same tokenizer with no control token in reach: neither matched in text nor in the vocabulary."""
    vocab = {token: i for token, i in spec["model"]["vocab"].items() if token not in control}
    model = {**spec["model"], "vocab": vocab, "unk_token": None}
    plain = {**spec, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None, "model": model}
    return tokenizers.Tokenizer.from_str(json.dumps(plain))


def added_tokens(spec: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    """The added tokens of a spec that this class can serve; ValueError says what is wrong with any other."""
    kind = (spec.get("model") or {}).get("type")
    decoder = (spec.get("decoder") or {}).get("type")
    if kind != "BPE" or decoder != "ByteLevel" or spec.get("normalizer"):
        raise ValueError(f"{source}: only byte-level BPE without normalizer is supported, not {kind}/{decoder}")
    added: list[dict[str, Any]] = spec.get("added_tokens") or []
    ids = {token["content"]: token["id"] for token in added}
    for i, name in NAMES.items():
        if ids.get(name) != i:
            raise ValueError(f"{source}: control token {name} has id {ids.get(name)}, the control block needs {i}")
    for token in added:
        if token.get("lstrip") or token.get("rstrip") or token.get("single_word"):
            raise ValueError(f"{source}: added token {token['content']!r} must match its exact text, without stripping")
    return added


def byte_table(spec: Mapping[str, Any], control: Mapping[str, int]) -> list[bytes]:
    """bytes of every id. In the vocabulary file each byte is one printable character (the GPT-2 alphabet)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(NUM_BYTES) if byte not in set(printable)]
    byte_of = {chr(byte): byte for byte in printable} | {chr(NUM_BYTES + n): byte for n, byte in enumerate(rest)}
    vocab: dict[str, int] = spec["model"]["vocab"]
    table = [b""] * (1 + max(*vocab.values(), *control.values()))
    for token, i in vocab.items():
        if token not in control:
            table[i] = bytes(byte_of[char] for char in token)
    for name, i in control.items():
        table[i] = name.encode()
    return table


def stored_template(folder: Path) -> str | None:
    """The chat template kept beside a tokenizer: `chat_template.jinja`, else the entry in `tokenizer_config.json`."""
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    if not config.is_file():
        return None
    stored = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
    if isinstance(stored, list):
        stored = {entry["name"]: entry["template"] for entry in stored}.get("default")
    return stored if isinstance(stored, str) else None
