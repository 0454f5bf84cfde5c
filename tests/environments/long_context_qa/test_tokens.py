"""Counting: the estimate by hand, a real tokenizer file, and texts that fit into a budget."""

import random

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.long_context_qa import generator
from environments.long_context_qa.environment import LongContextQa
from environments.long_context_qa.filler import sentences
from environments.long_context_qa.levels import LEVELS, open_levels
from environments.long_context_qa.settings import SECTION, Settings
from environments.long_context_qa.tokens import Crowded, Estimate, TokenizerFile, counter, fit, sentence_tokens
from gym_core.config import load
from gym_core.errors import BadRequest


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory):
    """A byte-level tokenizer of 1,500 tokens, learned from filler."""
    learned = tokenizers.Tokenizer(tokenizers.models.BPE())
    learned.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    learned.train_from_iterator(sentences(random.Random(1), 500), trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    learned.save(str(path))
    return path


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("word", 1),
        ("two words", 2),
        ("412,000 EUR", 6 + 1 + 1),  # six digits, a comma, a word
        ("it is 41.", 2 + 2 + 1 + 1),  # two words, two digits, a full stop, a number after a space
        ("a\n\nb", 4),
        ("incomprehensibilities" * 2, 1 + 42 // 16),
    ],
)
def test_the_estimate_by_hand(text, tokens):
    assert Estimate()(text) == tokens


@given(st.text(max_size=300), st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_the_estimate_is_about_additive(one, other):
    together = Estimate()(one + "\n" + other)
    assert abs(together - Estimate()(one) - Estimate()(other) - 1) <= 2


def test_a_tokenizer_file_counts_and_is_named(tokenizer_file):
    count = TokenizerFile(tokenizer_file)
    text = "After a short pause, the canteen praised the fire drill. 412,000 EUR"
    assert count(text) == len(tokenizers.Tokenizer.from_file(str(tokenizer_file)).encode(text).ids)
    assert count.name.startswith("tokenizer.json blake2b:")


def test_prompts_are_measured_with_the_configured_tokenizer(tokenizer_file):
    count = counter(str(tokenizer_file))
    for family in ("total", "by_date", "chain"):
        task = generator.document_task(random.Random(3), 2, count, family)
        assert 0.85 * LEVELS[2].tokens <= count(task["prompt"]) == task["public"]["input_tokens"] <= LEVELS[2].tokens
        assert task["public"]["token_counter"] == count.name
    for family in ("needle_single", "common_words", "frequent_words", "variables"):
        task = generator.needle_task(random.Random(3), 2, count, family)
        assert 0.85 * LEVELS[2].tokens <= count(task["prompt"]) == task["public"]["input_tokens"] <= LEVELS[2].tokens


def test_a_tokenizer_of_bytes_makes_a_level_too_small():
    class Bytes:
        name = "bytes"

        def __call__(self, text):
            return len(text.encode())

    with pytest.raises(Crowded, match=r"level needs \d+ tokens of its 1024 \(bytes\)"):
        generator.document_task(random.Random(0), 1, Bytes(), "total")


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"model": {"type": "none"}}'])
def test_a_file_that_is_no_tokenizer_is_refused_by_name(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadRequest, match=r"tokenizer\.json") as caught:
        TokenizerFile(path)
    assert caught.value.field == "long_context_qa.tokenizer"


@given(st.integers(50, 5000), st.floats(1.0, 30.0), st.floats(0.5, 2.0))
@settings(max_examples=100, deadline=None)
def test_what_is_fitted_never_exceeds_its_budget(budget, each, off):
    """Also where an item costs half or twice of what is believed."""
    text, tokens = fit(lambda items: "x" * int(20 + items * each * off), budget, _Length(), each)
    assert tokens == len(text) <= budget
    if each * off < 0.05 * budget:
        assert tokens >= 0.7 * budget


class _Length:
    name = "characters"

    def __call__(self, text):
        return len(text)


def test_a_sentence_costs_about_what_its_words_do():
    assert 15 < sentence_tokens(Estimate()) < 30


# Settings --------------------------------------------------------------------------------------------------------


def told(**environ):
    return load(Settings, section=SECTION, environ=environ)


def test_longer_prompts_open_more_levels():
    assert told().max_tokens == 32_768
    assert LongContextQa.levels == range(6) == open_levels(32_768)
    told_longer = told(PALAESTRA_LONG_CONTEXT_QA_MAX_TOKENS="262144")
    assert open_levels(told_longer.max_tokens) == range(9)
    assert open_levels(20_000) == range(5)


@pytest.mark.parametrize("value", ["1000", "10000000", "many"])
def test_a_length_that_no_level_has_is_refused(value):
    with pytest.raises(BadRequest, match="max_tokens"):
        told(PALAESTRA_LONG_CONTEXT_QA_MAX_TOKENS=value)


def test_a_misspelt_variable_is_refused():
    with pytest.raises(BadRequest, match="TOKENISER"):
        told(PALAESTRA_LONG_CONTEXT_QA_TOKENISER="x")
