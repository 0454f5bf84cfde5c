"""vLLM's plugin: `register` runs in every process of a vLLM that has this distribution installed.

    everywhere   log-probabilities at the request's temperature; weights from shared memory (`transfer`)
    on a CPU     relu² experts (`experts`), Mamba-2 prefix caching (`checkpoints`), AMX asked for, no conv prepack

All of it reaches into vLLM's private parts, so it is made for one version and refuses others.
"""

from __future__ import annotations

VLLM_VERSION = "0.32.0"
"""The version whose private parts are patched here."""


def register() -> None:
    """The entry point. Raises `RuntimeError` under another version of vLLM; calling it again changes nothing."""
    from . import patches

    patches.apply()
