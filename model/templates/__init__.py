"""The chat template, one file for our servers, transformers and vLLM alike."""

from functools import cache
from pathlib import Path


@cache
def default_template() -> str:
    """The source of `chat_template.jinja`."""
    return (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")
