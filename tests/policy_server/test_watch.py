from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policy_server.requests import GenerateRequest
from policy_server.watch import StopText, Watch, cut_at, needs_watch


class Letters:
    """A decoder whose tokens are the code points of their text."""

    def push(self, token: int) -> str:
        return chr(token)

    def flush(self) -> str:
        return ""


def watch(**fields: object) -> Watch:
    return Watch(GenerateRequest(prompt_token_ids=[1], **fields), Letters)  # type: ignore[arg-type]  # any field


def test_a_stop_string_across_pieces() -> None:
    stop = StopText(["END"])
    assert stop.push("abE") == ("a", None)
    assert stop.push("N") == ("b", None)
    assert stop.push("Dxy") == ("", "END")


def test_what_only_began_like_a_stop_string_is_shown_at_the_end() -> None:
    stop = StopText(["END"])
    assert stop.push("aEN") == ("a", None)
    assert stop.flush() == "EN"


def test_the_earliest_of_several_wins() -> None:
    assert StopText(["cd", "b"]).push("abcd") == ("a", "b")


def test_watch_stops_at_text_and_at_ids() -> None:
    looked = watch(stop=["no"])
    assert [looked.push(ord(c), False) for c in "xno"] == [None, None, "no"]
    assert looked.text == ""
    assert watch(stop_token_ids=[5]).push(5, False) == 5


def test_only_some_requests_need_a_watch() -> None:
    assert not needs_watch(GenerateRequest(prompt_token_ids=[1]))
    assert needs_watch(GenerateRequest(prompt_token_ids=[1], stop=["x"]))
    assert needs_watch(GenerateRequest(prompt_token_ids=[1], stop_token_ids=[3]))
    assert needs_watch(GenerateRequest(prompt_token_ids=[1], on_delta=print))


def test_cut_at() -> None:
    assert cut_at("a END b", "END") == "a "
    assert cut_at("a END b", 11) == "a END b"
    assert cut_at("a", None) == "a"


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3))
def test_pieces_make_no_difference(text: str, stops: list[str]) -> None:
    stop, shown, reason = StopText(stops), "", None
    for letter in text:
        piece, reason = stop.push(letter)
        shown += piece
        if reason is not None:
            break
    if reason is None:
        assert shown + stop.flush() == text
        assert not any(each in text for each in stops)
    else:
        assert text.startswith(shown + reason)
        assert not any(each in shown for each in stops)
