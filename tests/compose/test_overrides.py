"""What Docker makes of the compose files together, and promtool of Prometheus' file. Needs the plugin and an engine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "compose"
PROMETHEUS = os.environ.get("PALAESTRA_PROMETHEUS_IMAGE", "palaestra/prometheus")

pytestmark = pytest.mark.docker


def docker(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **environ}
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, env=environment,
                          cwd=COMPOSE, timeout=120)  # fmt: skip


@pytest.fixture(autouse=True)
def plugin() -> None:
    try:
        shown = docker("compose", "version")
    except FileNotFoundError:
        pytest.skip("there is no docker here")
    if shown.returncode:
        pytest.skip("docker has no compose plugin here")


def merged(*names: str, **environ: str) -> dict[str, Any]:
    files = [word for name in ("compose.yaml", *names) for word in ("--file", name)]
    shown = docker("compose", *files, "config", **environ)
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    services: dict[str, Any] = yaml.safe_load(shown.stdout)["services"]
    return services


def test_more_agents_stand_behind_one_name_and_wait_for_both_services() -> None:
    services = merged("compose.scale.yaml", "compose.debian.yaml")
    assert services["agent"]["deploy"]["replicas"] == 2 and "ports" not in services["agent"]
    assert set(services["agent"]["depends_on"]) == {"code", "environments", "policy", "postgres"}
    assert services["jail"]["deploy"]["replicas"] == 6
    for name in ("code", "environments"):
        assert services[name]["networks"].keys() == {"inner", "sandboxes"}
        assert services[name]["read_only"] and services[name]["cap_drop"] == ["ALL"]
    assert "build" not in services["code"], "it is the image of `environments`"


def test_a_gpu_is_reserved_and_the_trainer_stays_away() -> None:
    services = merged("compose.gpu.yaml", MODEL_DIR="/models/nano")
    (device,) = services["vllm"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]
    assert services["vllm"]["networks"].keys() == {"inner"}
    assert "http://vllm:8001/v1" in services["policy"]["command"] and "trainer" not in services
    refused = docker("compose", "--file", "compose.yaml", "--file", "compose.gpu.yaml", "config", "-q", MODEL_DIR="")
    assert refused.returncode != 0 and "MODEL_DIR" in refused.stderr


def test_promtool_takes_the_configuration() -> None:
    if docker("image", "inspect", PROMETHEUS).returncode:
        pytest.skip(f"there is no image {PROMETHEUS}, or no engine: docker compose build prometheus")
    place = f"{COMPOSE / 'prometheus'}:/etc/prometheus:ro"
    secret = f"{COMPOSE / 'health.py'}:/run/secrets/token:ro"  # promtool wants the file to be there
    told = docker("run", "--rm", "--network", "none", "-v", place, "-v", secret, "--entrypoint", "promtool",
                  PROMETHEUS, "check", "config", "/etc/prometheus/prometheus.yml")  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert "SUCCESS" in told.stdout
