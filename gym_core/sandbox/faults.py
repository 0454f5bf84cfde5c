"""Failures of the sandbox itself: typed errors, never a verdict on the program."""

from __future__ import annotations

from gym_core.errors import EnvironmentFault


class SandboxFault(EnvironmentFault):
    """The sandbox broke while it ran something; it is started anew for the next run."""

    code = "sandbox_fault"


class SandboxUnavailable(EnvironmentFault):
    """No sandbox, or none strong enough, can be opened on this machine."""

    code = "sandbox_unavailable"


class NoCompiler(EnvironmentFault):
    """The sandbox has no compiler for this language."""

    code = "no_compiler"
