"""Families of computed science facts, by the number of steps they take."""

from __future__ import annotations

import random
from collections.abc import Callable

from environments.stem_qa.choice import Fact, Pick
from environments.stem_qa.facts import chance, chemistry, circuits, life, matter, motion, space, symbols

Family = Callable[[random.Random], Fact | Pick]

ONE_STEP: tuple[Family, ...] = (
    motion.speed,
    motion.force,
    motion.kinetic_energy,
    matter.wave,
    matter.density,
    chemistry.neutrons,
    chemistry.electrons,
    chemistry.moles,
    circuits.ohm,
    circuits.power,
    life.doubling,
    life.codons,
    life.recessive,
    symbols.conversion,
    chance.mean,
    chance.draw,
    space.light_time,
    space.parallax,
)
TWO_STEPS: tuple[Family, ...] = (
    motion.braking,
    motion.collision,
    matter.heating,
    matter.pressure,
    matter.half_life,
    chemistry.molar_mass,
    chemistry.dilution,
    chemistry.molecules,
    circuits.parallel,
    circuits.energy_cost,
    life.base_pairs,
    life.colonies,
    life.dihybrid,
    life.breath,
    life.cardiac,
    symbols.compound_unit,
    symbols.dimensions,
    symbols.true_rows,
    chance.two_draws,
    chance.variance,
    space.kepler,
    space.weight,
)
MORE_STEPS: tuple[Family, ...] = (
    motion.slope,
    motion.projectile,
    matter.mixing,
    matter.gas,
    chemistry.product_mass,
    chemistry.limiting,
    chemistry.acidity,
    circuits.mixed,
    circuits.divider,
    circuits.charging,
    life.carriers,
    life.second_generation,
    symbols.dimensions,
    symbols.nested_rows,
    chance.binomial,
    chance.diagnosis,
    space.luminosity,
    space.orbit_speed,
    matter.decay_chain,
)
BY_LEVEL: dict[int, tuple[Family, ...]] = {
    1: ONE_STEP,
    2: ONE_STEP + TWO_STEPS,
    3: TWO_STEPS,
    4: TWO_STEPS + MORE_STEPS,
    5: MORE_STEPS,
}
