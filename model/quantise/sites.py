"""The modules that hold a model's linear layers: their released names, their class, and how another takes their place.

    class                        modules                                      in FP8 by the rule
    mamba                        in_proj, out_proj                            yes
    mamba before attention       the same, where an attention layer follows   no
    attention                    q, k, v (one module), o                      no
    experts                      all routed experts of a layer (one module)   yes
    shared experts               up_proj, down_proj                           yes
    lm_head                      the output head                              no

The rule is that of the Nemotron 3 Nano report (post-training quantisation), spelled out in `model.counting`: what feeds
attention is the most sensitive; convolutions, norms, gates and embeddings are no candidates at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor, nn

from model.config import HybridConfig
from model.counting import fp8_excluded, tensor_shapes
from model.layers.attention import AttentionMixer
from model.layers.linear import Linear
from model.layers.mamba import MambaMixer
from model.layers.moe import Experts, MoEMixer
from model.stack import HybridModel

CLASSES = ("mamba", "mamba before attention", "attention", "experts", "shared experts", "lm_head")


class Site(NamedTuple):
    """One module, a `Linear` or the `Experts` of a layer, as an attribute of its owner."""

    owner: nn.Module
    attribute: str
    kind: str  # one of CLASSES
    names: tuple[str, ...]  # released names of its linear layers; of experts all up_proj, then all down_proj
    rows: tuple[int, ...]  # rows of each in the module's joined weight; for experts unused

    @property
    def module(self) -> nn.Module:
        module: nn.Module = getattr(self.owner, self.attribute)
        return module


Make = Callable[[Site], nn.Module | None]


def quantised_linears(config: HybridConfig) -> list[str]:
    """Released names of the linear layers that the rule puts in FP8: 5,968 for the published model."""
    excluded = set(fp8_excluded(config))
    modules = [name.removesuffix(".weight") for name, _ in tensor_shapes(config) if name.endswith("_proj.weight")]
    return [name for name in modules if name not in excluded]


def sites(model: HybridModel) -> Iterator[Site]:
    """Every module with linear layers that could be quantised, in the order in which they compute."""
    excluded = set(fp8_excluded(model.config))
    for index, block in enumerate(model.blocks()):
        prefix, mixer = f"backbone.layers.{index}.mixer", block.mixer
        if isinstance(mixer, MambaMixer):
            kind = "mamba before attention" if f"{prefix}.in_proj" in excluded else "mamba"
            yield Site(mixer, "in_proj", kind, (f"{prefix}.in_proj",), (model.config.in_proj_size,))
            yield Site(mixer, "out_proj", kind, (f"{prefix}.out_proj",), (model.config.hidden_size,))
        elif isinstance(mixer, AttentionMixer):
            yield from _attention_sites(mixer, prefix, model.config)
        else:
            assert isinstance(mixer, MoEMixer)
            yield from _moe_sites(mixer, prefix, model.config)
    yield Site(model, "lm_head", "lm_head", ("lm_head",), (model.config.vocab_size,))


def substitute(model: HybridModel, make: Make) -> list[Site]:
    """Put what `make` returns for a site in its place (None: leave it); returns the sites that changed."""
    changed = []
    for site in sites(model):
        new = make(site)
        if new is not None:
            setattr(site.owner, site.attribute, new.train(site.module.training))
            changed.append(site)
    if changed:
        model._decode_plan = None  # it holds the modules' weights
    return changed


@contextmanager
def substituted(model: HybridModel, make: Make) -> Iterator[None]:
    """As `substitute`, undone at the end."""
    before = [(site.owner, site.attribute, site.module) for site in sites(model)]
    substitute(model, make)
    try:
        yield
    finally:
        for owner, attribute, module in before:
            setattr(owner, attribute, module)
        model._decode_plan = None


class WrappedLinear(Linear):
    """A linear layer over the weight of another: the same parameter, not a copy."""

    def __init__(self, inner: Linear) -> None:
        nn.Module.__init__(self)
        self.weight = inner.weight

    def whole_weight(self) -> Tensor | None:
        """What every input is multiplied with as it comes; None when inputs are rounded first (`layers.native`)."""
        return self.weight


class WrappedExperts(Experts):
    """Experts over the weights of others."""

    def __init__(self, inner: Experts) -> None:
        nn.Module.__init__(self)
        self.up_proj, self.down_proj = inner.up_proj, inner.down_proj

    def whole_weights(self) -> tuple[Tensor, Tensor] | None:
        """As `WrappedLinear.whole_weight`, of all up and all down projections."""
        return self.up_proj, self.down_proj


def linear_of(site: Site) -> Linear:
    assert isinstance(site.module, Linear)
    return site.module


def experts_of(site: Site) -> Experts:
    assert isinstance(site.module, Experts)
    return site.module


def weights_of(site: Site) -> list[Tensor]:
    """The weight of each name in its released shape, as views."""
    if isinstance(site.module, Experts):
        experts = site.module
        return [*experts.up_proj.detach().unbind(), *experts.down_proj.detach().mT.unbind()]
    return list(linear_of(site).weight.detach().split(site.rows))


def _attention_sites(mixer: AttentionMixer, prefix: str, config: HybridConfig) -> Iterator[Site]:
    queries, keys = (heads * config.head_dim for heads in (config.num_attention_heads, config.num_key_value_heads))
    names = tuple(f"{prefix}.{letter}_proj" for letter in "qkv")
    yield Site(mixer, "qkv_proj", "attention", names, (queries, keys, keys))
    yield Site(mixer, "o_proj", "attention", (f"{prefix}.o_proj",), (config.hidden_size,))


def _moe_sites(mixer: MoEMixer, prefix: str, config: HybridConfig) -> Iterator[Site]:
    numbers = range(config.n_routed_experts)
    names = tuple(f"{prefix}.experts.{e}.{way}_proj" for way in ("up", "down") for e in numbers)
    yield Site(mixer, "experts", "experts", names, ())
    shared, width = mixer.shared_experts, config.moe_shared_expert_intermediate_size
    for way, rows in (("up", width), ("down", config.hidden_size)):
        yield Site(shared, f"{way}_proj", "shared experts", (f"{prefix}.shared_experts.{way}_proj",), (rows,))
