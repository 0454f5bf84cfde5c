from pathlib import Path

import msgspec
import pytest

from gym_core.errors import BadRequest
from trainer.config import RECIPES, Recipe, load_recipe, parse_recipe
from trainer.presets import PRESETS

BASE = {"name": "r", "environments": {"maths": {"level": 1}}}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path.stem)
    assert recipe.name == path.stem
    assert recipe == load_recipe(str(path))
    pools = {name: mix.tasks for name, mix in recipe.environments.items()}
    assert min(pools.values()) >= recipe.grpo.prompts_per_step / len(pools)


@pytest.mark.parametrize(
    ("data", "field", "nearest"),
    [
        ({**BASE, "sede": 1}, "sede", "seed"),
        ({**BASE, "grpo": {"group_sise": 4}}, "grpo.group_sise", "group_size"),
        ({**BASE, "sft": {"learning_rate": 4}}, "sft.learning_rate", "error_rate"),
        ({"name": "r", "environments": {"maths": {"levl": 1}}}, "environments.maths.levl", "level"),
    ],
)
def test_an_unknown_key_names_the_nearest(data: dict, field: str, nearest: str) -> None:
    with pytest.raises(BadRequest, match=r"demo\.toml") as caught:
        parse_recipe(data, "demo.toml")
    assert caught.value.field == field
    assert nearest in caught.value.hint


@pytest.mark.parametrize(
    ("data", "field", "says"),
    [
        ({**BASE, "seed": "one"}, "seed", "Expected `int`"),
        ({**BASE, "grpo": {"group_size": 0}}, "grpo.group_size", "`group_size` must be positive, not 0"),
        ({**BASE, "grpo": {"grad_clip": float("inf")}}, "grpo.grad_clip", "`grad_clip` must be positive"),
        ({**BASE, "grpo": {"steps": -1}}, "grpo.steps", "`steps` is 0 or more, not -1"),
        ({**BASE, "sft": {"warmup": -1}}, "sft.warmup", "`warmup` is 0 or more, not -1"),
        ({**BASE, "grpo": {"mismatch_gate": float("nan")}}, "grpo.mismatch_gate", "mismatch_gate"),
        ({**BASE, "grpo": {"mismatch_gate": float("inf")}}, "grpo.mismatch_gate", "is inf"),
        ({**BASE, "objective": {"clip_high": float("inf")}}, "objective.clip_high", "is inf"),
        ({**BASE, "length": {"think": float("nan")}}, "length.think", "is nan"),
        (
            {"name": "r", "environments": {"maths": {"weight": float("inf")}}},
            "environments.maths.weight",
            "`weight` must be",
        ),
        ({**BASE, "objective": {"clip_low": 1.5}}, "objective.clip_low", "clip_low"),
        ({**BASE, "objective": {"dual_clip": 1.1}}, "objective.dual_clip", "dual_clip"),
        ({**BASE, "objective": {"kl_coef": -1.0}}, "objective.kl_coef", "kl_coef"),
        ({**BASE, "objective": {"ratio": "word"}}, "objective.ratio", "word"),
        ({**BASE, "objective": {"preset": "dapoo"}}, "objective.preset", "dapoo"),
        ({**BASE, "objective": {"importance_unit": "sequence_error"}}, "objective.importance", "reject"),
        ({**BASE, "length": {"think": -0.5}}, "length", "pay for length"),
        ({**BASE, "length": {"top_share": 0.0}}, "length.top_share", "top_share"),
        ({**BASE, "grpo": {"mismatch_gate": 0.5}}, "grpo.mismatch_gate", "mismatch_gate"),
        ({**BASE, "objective": {"importance_low": 9.0}}, "objective.importance_low", "importance_low"),
        ({**BASE, "sft": {"error_rate": 1.0}}, "sft.error_rate", "error_rate"),
        ({**BASE, "arm": "other"}, "arm", "other"),
        ({"name": "r", "environments": {}}, "environments", "at least one"),
        ({"environments": {"maths": {}}}, "name", "name"),
        ({"name": "r", "environments": {"maths": {}, "code": "yes"}}, "environments.code", "Expected `object`"),
        ({**BASE, "name": ""}, "name", "1 to 100 characters"),
        ({**BASE, "name": "../../r"}, "name", "without `/`"),
        ({**BASE, "name": "..."}, "name", "becomes a folder's"),
        ({**BASE, "seed": -1}, "seed", "from 0"),
        ({**BASE, "seed": 1 << 63}, "seed", "from 0"),
        ({**BASE, "grpo": {"curriculum_start": 1.5}}, "grpo.curriculum_start", "pass rates"),
        ({**BASE, "grpo": {"curriculum_end": -0.1}}, "grpo.curriculum_start", "pass rates"),
        ({**BASE, "grpo": {"curriculum_sigma": 1e-9}}, "grpo.curriculum_sigma", "0.001 or more"),
        ({**BASE, "objective": {"sequence_error_max": 0.5}}, "objective.sequence_error_max", "never under 1"),
        ({**BASE, "objective": {"preset": 5}}, "objective.preset", "no preset"),
        ({**BASE, "objective": {"preset": ["dapo", ["tis"]]}}, "objective.preset", "no preset"),
    ],
)
def test_a_bad_value_names_its_field(data: dict, field: str, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as caught:
        parse_recipe(data)
    assert caught.value.field == field


def test_a_wrong_choice_names_what_there_is() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_recipe({**BASE, "policy": {"transport": "shared-memory"}})
    assert caught.value.field == "policy.transport" and caught.value.hint == "did you mean shared_memory?"
    with pytest.raises(BadRequest) as caught:
        parse_recipe({**BASE, "arm": "x"})
    assert caught.value.hint == "there are: grpo, sft, shuffled"


def test_overrides_win_over_the_file() -> None:
    recipe = load_recipe("demo", {"grpo.steps": 3, "seed": 7, "arm": "shuffled", "environments.math.level": 2})
    assert (recipe.grpo.steps, recipe.seed, recipe.arm) == (3, 7, "shuffled")
    assert recipe.environments["math"].level == 2
    assert recipe.grpo.group_size == load_recipe("demo").grpo.group_size


def test_an_override_of_an_unknown_key_is_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        load_recipe("demo", {"grpo.stepz": 3})
    assert caught.value.field == "grpo.stepz"
    with pytest.raises(BadRequest, match="not a table"):
        load_recipe("demo", {"seed.steps": 3, "vocab_size.x": 1})


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(BadRequest) as caught:
        load_recipe("demoo")
    assert "demo" in caught.value.hint
    with pytest.raises(BadRequest, match="no recipe file"):
        load_recipe("nowhere/x.toml")


def test_a_broken_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("steps = = 3")
    with pytest.raises(BadRequest, match=r"broken\.toml is not TOML"):
        load_recipe(str(tmp_path / "broken.toml"))


def test_a_recipe_survives_its_own_encoding() -> None:
    import msgspec

    recipe = load_recipe("demo")
    assert msgspec.convert(msgspec.to_builtins(recipe), Recipe) == recipe


def test_a_preset_is_a_start_and_what_stands_beside_it_wins() -> None:
    recipe = parse_recipe({**BASE, "objective": {"preset": ["dapo", "tis"], "clip_high": 0.3}}).objective
    assert (recipe.clip_low, recipe.clip_high, recipe.mask_truncated) == (0.2, 0.3, True)
    assert (recipe.importance, recipe.importance_high) == ("truncate", 2.0)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_a_recipe(name: str) -> None:
    assert parse_recipe({**BASE, "objective": {"preset": name}}).objective.preset == name


def test_an_override_may_name_a_preset() -> None:
    recipe = load_recipe("demo", {"objective.preset": "gspo"}).objective
    assert recipe.ratio == "sequence"
    assert recipe.kl_coef == load_recipe("demo").objective.kl_coef, "what the file says itself stays"


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_recipe_with_any_preset_comes_back_from_its_record(preset: str) -> None:
    """A run keeps its recipe as JSON and is resumed from that."""
    recipe = load_recipe("demo", {"objective.preset": preset})
    assert parse_recipe(msgspec.json.decode(msgspec.json.encode(recipe))) == recipe


def test_unless_told_otherwise_a_batch_is_one_step_on_policy() -> None:
    recipe = parse_recipe({"name": "r", "environments": {"math": {}}})
    assert (recipe.grpo.minibatches, recipe.overlap.steps) == (1, 0)
