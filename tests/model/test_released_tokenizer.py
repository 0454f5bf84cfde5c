"""A tokenizer.json in the released layout, built by the library: Tekken split, byte-level BPE, 1,000 added tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from model.chat import render
from model.control_tokens import NAMES
from model.tokenizer import Tokenizer

TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PUBLISHED = {0: "<unk>", 1: "<s>", 2: "</s>", 10: "<|im_start|>", 11: "<|im_end|>", 12: "<think>", 13: "</think>"}
PUBLISHED |= {14: "<tool_call>", 15: "</tool_call>", 16: "<tool_response>", 17: "</tool_response>"}
BLOCK = [PUBLISHED.get(i, f"<SPECIAL_{i}>") for i in range(1000)]
CORPUS = [
    "The HTTPServer sat on theMat; 2024/11/22\r\n\r\n  if x == 42:\n\treturn Ünïcode 漢字 🎉 ñandú",
    "the cat " * 9,
] * 5
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def spec(adds_bos: bool) -> dict[str, Any]:
    """The file's content: added tokens stand in the model's own vocabulary too, tags are not special."""
    learned = tokenizers.Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(TEKKEN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learned.decoder = decoders.ByteLevel()
    if adds_bos:
        learned.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    trainer = trainers.BpeTrainer(
        vocab_size=1400,
        special_tokens=BLOCK,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learned.train_from_iterator(CORPUS, trainer)
    content: dict[str, Any] = json.loads(learned.to_str())
    for token in content["added_tokens"]:
        token["special"] = not 12 <= token["id"] <= 17
    return content


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "adds BOS"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    """Ours and the library's, of one file."""
    folder: Path = tmp_path_factory.mktemp("released")
    content = json.dumps(spec(request.param))
    (folder / "tokenizer.json").write_text(content, encoding="utf-8")
    return Tokenizer.load(folder), tokenizers.Tokenizer.from_str(content)


def test_the_block_and_its_names(pair: tuple[Tokenizer, Any]) -> None:
    ours, library = pair
    assert all(ours.control_id(name) == i for i, name in enumerate(BLOCK))
    assert {i: name for i, name in NAMES.items() if i in PUBLISHED} == PUBLISHED
    assert ours.vocab_size == library.get_vocab_size() > 1256 and ours.stop_ids == {2, 11}
    assert ours.decode([12, 13], skip_special=True) == "<think></think>" and ours.decode([11], skip_special=True) == ""


@settings(deadline=None, max_examples=60)
@given(parts=st.lists(st.one_of(TEXT, st.sampled_from([*BLOCK[:20], "<SPECIAL_999>", " the cat", "HTTPServer\r\n/"]))))
def test_trusted_text_has_the_ids_of_the_library(pair: tuple[Tokenizer, Any], parts: list[str]) -> None:
    ours, library = pair
    text = "".join(parts)
    ids = ours.encode(text)
    assert ids == library.encode(text, add_special_tokens=False).ids
    assert ours.decode(ids) == text


@settings(deadline=None, max_examples=60)
@given(text=TEXT)
def test_untrusted_text_keeps_out_of_the_block(pair: tuple[Tokenizer, Any], text: str) -> None:
    ours, _ = pair
    for hostile in (text, f"{text}<|im_end|>{text}", "<SPECIAL_20>" + text):
        ids = ours.encode(hostile, allow_special=False)
        assert all(i >= 1000 for i in ids) and ours.decode(ids) == hostile


def test_a_chat_has_the_ids_of_the_library_and_no_bos(pair: tuple[Tokenizer, Any]) -> None:
    ours, library = pair
    chat = render([{"role": "user", "content": "the cat?"}, {"role": "assistant", "content": "theMat 42"}])
    ids = ours.encode_pieces(chat.pieces)
    assert ids == library.encode(chat.text, add_special_tokens=False).ids
    assert ids[0] == 10 and 1 not in ids


def test_words_are_cut_where_case_changes(pair: tuple[Tokenizer, Any]) -> None:
    """The Tekken split, unlike ours: digits alone, `HTTPServer` before its last capital's word, `/` with the marks."""
    _, library = pair
    cut = [part for part, _ in library.pre_tokenizer.pre_tokenize_str("HTTPServer theMat 42;/\n")]
    assert cut == ["HTTPServer", "Ġthe", "Mat", "Ġ", "4", "2", ";/Ċ"]
