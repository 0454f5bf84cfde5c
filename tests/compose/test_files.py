"""The compose files say what docs/compose.md promises: no service has more than it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"


class _Loader(yaml.SafeLoader):
    """Knows compose's `!reset`."""


_Loader.add_constructor("!reset", lambda loader, node: None)


def read(name: str = "compose.yaml") -> dict[str, Any]:
    found: dict[str, Any] = yaml.load((COMPOSE / name).read_text(), Loader=_Loader)
    return found


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read()["services"]
    return found


def test_every_container_is_guarded() -> None:
    for name, service in services().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["pids_limit"] <= 512 and service["mem_limit"], name
        assert not service.get("privileged") and service.get("pid") is None, name
    assert {name for name, service in services().items() if service.get("cap_add")} == {"postgres"}


def test_no_container_sees_the_engine() -> None:
    for path in COMPOSE.rglob("*"):
        if path.is_file() and path.suffix in (".yaml", ".sh", "") and "local" not in path.parts:
            assert "docker.sock" not in path.read_text(errors="replace"), path


def test_the_cage_of_untrusted_programs_has_nothing() -> None:
    jail = services()["jail"]
    assert jail["network_mode"] == "none" and "networks" not in jail and "ports" not in jail
    assert jail["user"] == "10002:10002" and "secrets" not in jail and "init" not in jail
    assert jail["volumes"] == ["jail:/run/jail:ro"]
    assert set(jail["environment"]) == {"PYTHONHASHSEED"}
    assert jail["mem_limit"] == jail["memswap_limit"]
    door = {name for name, service in services().items() if any("jail:" in v for v in service.get("volumes", []))}
    assert door == {"jail", "sandbox"}


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_only_published_services_have_a_way_out() -> None:
    networks = read()["networks"]
    assert networks["inner"]["internal"] and networks["sandboxes"]["internal"]
    for name, service in services().items():
        assert ("front" in service.get("networks", [])) == bool(service.get("ports")), name


def test_what_is_depended_on_can_become_what_is_waited_for() -> None:
    known = services()
    for name, service in known.items():
        needed = service.get("depends_on", {})
        for other in needed:
            assert other in known, (name, other)
            if isinstance(needed, dict) and needed[other]["condition"] == "service_healthy":
                assert "healthcheck" in known[other], (name, other)


def test_secrets_are_files_that_git_ignores() -> None:
    declared = read()["secrets"]
    assert all(secret["file"].startswith(".secrets/") for secret in declared.values())
    assert set().union(*(service.get("secrets", []) for service in services().values())) == set(declared)
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"compose/.secrets/", "compose/local/*", "compose/.env"} <= set(ignored)
    assert "compose/.secrets" in (ROOT / ".dockerignore").read_text().split()


def test_secrets_are_made_once_and_only_their_owner_comes_near(tmp_path: Path) -> None:
    script = tmp_path / "prepare.sh"
    script.write_text((COMPOSE / "prepare.sh").read_text())
    for _ in range(2):
        subprocess.run(["sh", str(script)], check=True, timeout=60)
        made = {path.name: path.read_text() for path in (tmp_path / ".secrets").iterdir()}
    first = dict(made)
    subprocess.run(["sh", str(script)], check=True, timeout=60)
    assert first == {path.name: path.read_text() for path in (tmp_path / ".secrets").iterdir()}
    assert (tmp_path / ".secrets").stat().st_mode & 0o077 == 0
    assert len({made["token"], made["postgres"], made["grafana"]}) == 3
    assert all(re.fullmatch("[0-9a-f]{48}", made[name]) for name in ("token", "postgres", "grafana"))
    assert made["palaestra.toml"] == f'token = "{made["token"]}"\nstore_password = "{made["postgres"]}"\n'


def test_no_image_that_ships_has_what_a_build_was_given() -> None:
    stages = re.split(r"^FROM ", (COMPOSE / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    shipped = {"base", "jail", "code", "core", "train"}
    seen = set()
    for stage in stages:
        name = re.match(r"\S+ AS (\S+)", stage)
        assert name is not None
        seen.add(name[1])
        if name[1] in shipped:
            assert "compose/local" not in stage.split("\n# ")[0] and "requirements.lock" not in stage, name[1]
        if name[1] in {"jail", "core", "train"}:
            assert re.search(r"^USER (?!root|0)\S+", stage, re.MULTILINE), name[1]
    assert seen == shipped | {"core-libraries", "train-libraries", "compiled"}
    text = (COMPOSE / "Dockerfile").read_text()
    assert "--mount" not in text and "COPY --chmod" not in text, "the classic builder knows neither"


def test_the_trainers_image_has_compiled_layers_and_no_compiler() -> None:
    stages = re.split(r"^FROM ", (COMPOSE / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    train = next(stage for stage in stages if stage.startswith("base AS train\n"))
    assert "COPY --from=compiled /compiled /opt/palaestra/compiled" in train
    assert "ENV PALAESTRA_NATIVE_PREBUILT=/opt/palaestra/compiled\n" in train
    assert "apt-get" not in train and "COMPILER" not in train


def test_what_compiles_the_layers_needs_no_library() -> None:
    """The stage has Python, a compiler and these files, nothing else."""
    code = "import sys; sys.modules['torch'] = sys.modules['numpy'] = None; import model.kernels.native.prebuilt"
    subprocess.run([sys.executable, "-Sc", code], check=True, timeout=60, cwd=COMPOSE.parent)


def test_every_variable_has_a_default_or_a_reason() -> None:
    for name in ("compose.yaml", "compose.scale.yaml", "compose.gpu.yaml", "compose.debian.yaml"):
        for used in re.findall(r"\$\{([^}]*)\}", (COMPOSE / name).read_text()):
            assert ":-" in used or ":?" in used, (name, used)


def test_overrides_change_services_that_exist() -> None:
    assert set(read("compose.gpu.yaml")["services"]) - set(services()) == {"vllm"}
    assert set(read("compose.scale.yaml")["services"]) - set(services()) == {"code"}
    assert set(read("compose.debian.yaml")["services"]) <= set(services())


def test_prometheus_asks_every_service_with_the_token() -> None:
    (job,) = [job for job in yaml.safe_load((COMPOSE / "prometheus/prometheus.yml").read_text())["scrape_configs"]
              if job["job_name"] == "palaestra"]  # fmt: skip
    assert job["authorization"]["credentials_file"] == "/run/secrets/token"
    for target in job["dns_sd_configs"]:
        (name,) = target["names"]
        assert f"--port {target['port']}" in services()[name]["command"]
    assert {"inner", "sandboxes"} <= set(services()["prometheus"]["networks"])


@pytest.mark.parametrize("path", sorted((COMPOSE / "grafana/dashboards").glob("*.json")), ids=lambda path: path.stem)
def test_boards_use_the_sources_that_are_provisioned(path: Path) -> None:
    board = json.loads(path.read_text())
    sources = yaml.safe_load((COMPOSE / "grafana/provisioning/datasources/palaestra.yaml").read_text())["datasources"]
    known = {(source["type"], source["uid"]) for source in sources}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert (panel["datasource"]["type"], panel["datasource"]["uid"]) in known
        assert all(target.get("expr") or target.get("rawSql") for target in panel["targets"])
