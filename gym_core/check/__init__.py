"""The quality gate of environments: rules with stable ids, asked over HTTP, without a model (docs/quality_gate.md).

Its doors are in `gym_core.check.gate`; nothing is imported here, so that the processes it starts stay light.
"""
