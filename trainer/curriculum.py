"""Which tasks a step draws: fixed shares per environment, pass rates from a Gaussian that gets harder.

After Nemotron 3 Nano (arXiv 2512.20848, §3.2.2), with the reading that the batch's histogram, not only its weights,
follows the Gaussian:

    p_b(task) ∝ exp(-(ρ - μ_b)² / 2σ²) / density(ρ)        μ_b = μ_0 + (μ_1 - μ_0) b / (B - 1)

ρ is the posterior mean of the task's pass rate, density the number of candidates in its bin. Tasks are drawn without
replacement within an epoch of their environment; `order = "random"` does not look at ρ, to compare with. Profiling
drops those that were solved every time; training groups keep the posteriors fresh. Every draw has its own seed, so the
state is what was used and what was learnt.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from gym_core.contracts import TaskProfile
from gym_core.errors import BadRequest
from gym_core.seeds import rng
from trainer.pool import Pool, Row

BINS = 10
Order = Literal["gaussian", "random"]


def quotas(weights: Mapping[str, float], total: int) -> dict[str, int]:
    """Split `total` in proportion to the weights by largest remainder; ties go to the first named."""
    scale = total / math.fsum(weights.values())
    exact = {name: weight * scale for name, weight in weights.items()}
    shares = {name: math.floor(value) for name, value in exact.items()}
    left = total - sum(shares.values())
    for name in sorted(exact, key=lambda n: shares[n] - exact[n])[:left]:
        shares[name] += 1
    return shares


def bin_of(rate: float) -> int:
    return min(int(rate * BINS), BINS - 1)


class Curriculum:
    """`draw(step)` gives the step's rows, mixed; `update` learns from played groups; `state_dict` resumes exactly."""

    def __init__(
        self,
        pools: Mapping[str, Sequence[Row]],
        weights: Mapping[str, float],
        *,
        prompts_per_step: int,
        steps: int,
        seed: int,
        start: float = 0.6,
        end: float = 0.4,
        sigma: float = 0.25,
        order: Order = "gaussian",
    ) -> None:
        self.steps, self.seed, self.order = steps, seed, order
        self.start, self.end, self.sigma = start, end, sigma
        shares = quotas({name: weights[name] for name in pools}, prompts_per_step)
        self.pools = {name: Pool(name, rows, shares[name]) for name, rows in pools.items()}
        self.last_metrics: dict[str, float] = {}

    def mean(self, step: int) -> float:
        """μ of this step (0-based)."""
        progress = min(step / (self.steps - 1), 1.0) if self.steps > 1 else 0.0
        return self.start + (self.end - self.start) * progress

    def _distance(self, rate: float, step: int) -> float:
        """(ρ - μ)² / 2σ²."""
        return ((rate - self.mean(step)) / self.sigma) ** 2 / 2

    def draw(self, step: int) -> list[Row]:
        """The rows of this step: each environment's quota, distinct, shuffled across environments."""
        rows: list[Row] = []
        rates: list[float] = []
        for name, pool in self.pools.items():
            for task_id in self._draw_from(name, pool, step):
                rates.append(pool.pass_rate(task_id))
                rows.append(pool.rows[task_id])
        self.last_metrics = self._histogram_metrics(rates, step)
        rng(self.seed, "curriculum", step, "order").shuffle(rows)
        return rows

    def _draw_from(self, name: str, pool: Pool, step: int) -> list[str]:
        random = rng(self.seed, "curriculum", step, name)
        drawn: list[str] = []
        while len(drawn) < pool.quota:
            candidates = [t for t in pool.rows if t not in pool.used and t not in pool.dropped and t not in drawn]
            if not candidates:
                pool.begin_epoch()
                continue
            density = Counter(bin_of(pool.pass_rate(t)) for t in candidates)
            keys = {}
            for task_id in candidates:
                rate = pool.pass_rate(task_id)
                log_weight = 0.0
                if self.order == "gaussian":
                    log_weight = -self._distance(rate, step) - math.log(density[bin_of(rate)])
                keys[task_id] = log_weight - math.log(-math.log(random.random() or 5e-324))  # Gumbel: top k of these
            taken = heapq.nlargest(pool.quota - len(drawn), candidates, key=keys.__getitem__)
            drawn += taken
            pool.use(taken)
        return drawn

    def _histogram_metrics(self, rates: Sequence[float], step: int) -> dict[str, float]:
        """Achieved against target over the pass-rate bins: shares, means and KL(achieved ‖ target)."""
        log_target = [-self._distance((b + 0.5) / BINS, step) for b in range(BINS)]
        highest = max(log_target)  # a narrow Gaussian leaves no share at all to bins far from its mean
        log_norm = highest + math.log(math.fsum(math.exp(value - highest) for value in log_target))
        log_target = [value - log_norm for value in log_target]
        achieved = Counter(bin_of(rate) for rate in rates)
        kl = math.fsum(n / len(rates) * (math.log(n / len(rates)) - log_target[b]) for b, n in achieved.items())
        shares = {
            f"curriculum/{kind}/{b / BINS:.1f}": share
            for b in range(BINS)
            for kind, share in (("target", math.exp(log_target[b])), ("achieved", achieved[b] / len(rates)))
        }
        return shares | {
            "curriculum/target_mean": self.mean(step),
            "curriculum/achieved_mean": math.fsum(rates) / len(rates),
            "curriculum/histogram_kl": kl,
        }

    def profile(self, profiles: Iterable[TaskProfile]) -> int:
        """Take a checkpoint's profiles; drop tasks it solved every time. Returns how many were dropped.

        No environment is left with fewer tasks than its quota: then none of its tasks is dropped.
        """
        for profile in profiles:
            pool = self.pools.get(profile.environment)
            if pool is not None and profile.task_id in pool.rows:
                pool.learn(profile)
        for pool in self.pools.values():
            solved = {t for t, p in pool.profiles.items() if p.count > 0 and p.passes >= p.count}
            pool.drop(solved if len(pool.rows) - len(solved) >= pool.quota else ())
        return sum(len(pool.dropped) for pool in self.pools.values())

    def update(self, environment: str, task_id: str, rewards: Sequence[float], checkpoint: str) -> None:
        """Learn from one played group. Old tries never outweigh the new ones: the policy has moved since."""
        pool = self.pools[environment]
        if not rewards or task_id not in pool.rows:
            return
        old = pool.profiles[task_id]
        keep = min(old.count, len(rewards))
        passes = old.passes * keep / old.count if old.count else 0.0
        pool.learn(
            TaskProfile(
                environment=environment,
                task_id=task_id,
                checkpoint=checkpoint,
                passes=passes + math.fsum(min(max(r, 0.0), 1.0) for r in rewards),
                count=keep + len(rewards),
            )
        )

    def digest(self) -> str:
        """16 hex digits that are equal for equal states, in time that does not grow with the number of tasks."""
        told = "\n".join(pool.fingerprint() for _, pool in sorted(self.pools.items()))
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """Plain data: what was used, dropped and learnt."""
        return {
            name: {
                "epoch": pool.epoch,
                "used": sorted(pool.used),
                "dropped": sorted(pool.dropped),
                "profiles": [msgspec.to_builtins(p) for p in pool.profiles.values() if p.count],
            }
            for name, pool in self.pools.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state back. Raises BadRequest when it is of other environments."""
        if set(state) != set(self.pools):
            raise BadRequest(
                f"the checkpoint's curriculum is of {sorted(state)}, the recipe's of {sorted(self.pools)}",
                field="environments",
                hint="resume with the recipe the run was started with",
            )
        for name, saved in state.items():
            profiles = msgspec.convert(saved["profiles"], list[TaskProfile])
            self.pools[name].load(saved["epoch"], saved["used"], saved["dropped"], profiles)
