"""Whether a word can be a verb: a list of common verbs, and how English bends them."""

from __future__ import annotations

from environments.instruction_following.verifiers.text import edge
from environments.instruction_following.verifiers.vocabulary import AUXILIARIES, IRREGULAR, VERBS

_VOWELS = "aeiou"
_NAMED_IN_ING = "anything building ceiling during evening everything morning nothing something string wedding willing"
_NO_VERBS = frozenset(_NAMED_IN_ING.split())
_SHORTEST_ING = 6


def is_verb(word: str) -> bool:
    """True for the base form of a common verb, and for its -s and -ed; nearly every word in -ing is one."""
    bare = edge(word).replace("’", "'")
    if bare in VERBS or bare in AUXILIARIES or bare in IRREGULAR:
        return True
    if bare.endswith("ing") and len(bare) >= _SHORTEST_ING and bare.isalpha():
        return bare not in _NO_VERBS
    return any(stem in VERBS for stem in _stems(bare))


def _stems(word: str) -> list[str]:
    """Base forms that this may be bent from: making, tried, planned, goes, writes."""
    stems = [word[:-1]] if word.endswith("s") else []
    for ending in ("ing", "ed", "es"):
        if word.endswith(ending):
            stem = word[: -len(ending)]
            stems += [stem, f"{stem}e"]
            if stem.endswith("i"):
                stems.append(f"{stem[:-1]}y")
            if len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in _VOWELS:
                stems.append(stem[:-1])
    return stems
