import pytest

from trainer.config import parse_recipe
from trainer.plateau import Plateau


def seen(values: list[float], patience: int = 2, margin: float = 0.1) -> tuple[Plateau, list[bool]]:
    plateau = Plateau()
    return plateau, [plateau.see(step, v, patience=patience, margin=margin) for step, v in enumerate(values)]


def test_the_best_and_the_plateau_by_hand() -> None:
    plateau, best = seen([0.3, 0.5, 0.55, 0.61, 0.2])
    assert best == [True, True, False, True, False], "0.55 is within the margin of 0.5, 0.61 beyond it"
    assert (plateau.best, plateau.best_step, plateau.since, plateau.due) == (0.61, 3, 1, False)
    plateau.see(5, 0.71, patience=2, margin=0.1)
    assert plateau.due and plateau.since == 0, "0.61 + 0.1 is not beaten by 0.71"


def test_without_patience_the_best_is_known_and_nothing_is_due() -> None:
    plateau, _ = seen([0.5] * 9, patience=0)
    assert (plateau.best_step, plateau.due) == (0, False)


def test_a_validation_without_a_number_says_nothing() -> None:
    plateau, best = seen([float("nan"), 0.1, float("nan"), float("nan")])
    assert best == [False, True, False, False] and plateau.since == 0 and not plateau.due


def test_a_plateau_needs_validations_and_repeats() -> None:
    for missing in ({"eval": {"every": 5}}, {"grpo": {"plateau_patience": 2, "profile_repeats": 4}}):
        tables = {"grpo": {"plateau_patience": 2}, **missing}
        with pytest.raises(Exception, match=r"eval\.every"):
            parse_recipe({"name": "r", "environments": {"a": {}}, **tables})
