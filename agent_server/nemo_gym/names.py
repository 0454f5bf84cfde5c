"""NeMo Gym's global configuration, as its clients read it from a head: which server has which name and address.

    {name: {kind of server: {implementation: {entrypoint, host, port, …}}}}

Every name that a row may use (an environment's own, its aliases, its kinds of rows) is an agent here, with an
environment server in front of it as 0.7 wants; all of them have the head's address, which finds the environment from
the row. No secret is in it: there is none to be had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

IMPLEMENTATION = "palaestra"
POLICY = "policy_model"
NO_KEY = "none"

Manifest = Mapping[str, Any]


def global_config(manifests: Iterable[Manifest], host: str, port: int, policy_url: str = "") -> dict[str, Any]:
    """The configuration of a head at `host:port` in front of these environments."""
    config: dict[str, Any] = {"head_server": {"host": host, "port": port}}
    address = {"entrypoint": "app.py", "host": host, "port": port}
    for manifest in manifests:
        resources = f"{manifest['name']}_resources"
        about = {"domain": "other", "description": manifest.get("description", "")}
        config[resources] = {"resources_servers": {IMPLEMENTATION: {**address, **about}}}
        for name in names_of(manifest):
            agent = {**address, "resources_server": {"type": "resources_servers", "name": resources}}
            front = {**address, "agent_server": {"type": "responses_api_agents", "name": name}}
            config[name] = {"responses_api_agents": {IMPLEMENTATION: agent}}
            config[f"{name}_environment_server"] = {"environment_servers": {"legacy_agent": front}}
    if policy_url:
        config |= _policy(policy_url)
    return config


def names_of(manifest: Manifest) -> list[str]:
    """All names under which rows may ask for this environment, its own first."""
    return list(dict.fromkeys([manifest["name"], *manifest.get("aliases", ()), *manifest.get("rows", ())]))


def instances(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`GET /server_instances`: one entry for each server of the configuration."""
    found = []
    for name, kinds in config.items():
        kind, servers = next(iter(kinds.items())) if isinstance(kinds, Mapping) else ("", None)
        if not isinstance(servers, Mapping):
            continue
        implementation, server = next(iter(servers.items()))
        host, port = server["host"], server["port"]
        found.append(
            {
                "process_name": name,
                "config_path": name,
                "server_type": kind,
                "name": implementation,
                "entrypoint": server["entrypoint"],
                "host": host,
                "port": port,
                "url": f"http://{host}:{port}",
                "status": "success",
            }
        )
    return found


def _policy(url: str) -> dict[str, Any]:
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    server = {"entrypoint": "app.py", "host": address.hostname, "port": port}
    base = f"{address.scheme}://{address.hostname}:{port}{address.path.rstrip('/').removesuffix('/v1')}/v1"
    return {
        "policy_base_url": base,
        "policy_api_key": NO_KEY,
        "policy_model_name": "policy",
        POLICY: {"responses_api_models": {IMPLEMENTATION: server}},
    }
