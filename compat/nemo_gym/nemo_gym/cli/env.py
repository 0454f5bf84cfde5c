"""Starting a gym for a trainer: one that runs already, or processes of our own that end with it.

environments ─▶ policy (in front of the trainer's engine) ─▶ agent ─▶ head
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Sequence
from typing import Any

from nemo_gym.global_config import (
    HEAD_SERVER_KEY_NAME,
    POLICY_BASE_URL_KEY_NAME,
    POLICY_MODEL_NAME_KEY_NAME,
    GlobalConfigDictParserConfig,
    get_global_config_dict,
    ours,
    set_global_config_dict,
)
from nemo_gym.server_utils import (
    DEFAULT_HEAD_SERVER_PORT,
    BaseServerConfig,
    ServerClient,
    head_listens_at,
    read_configuration,
)

READY_S = 180.0
STOP_S = 10.0


class RunHelper:
    """Starts a gym, looks after it, ends it."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._head = ""

    def start(self, global_config_dict_parser_config: GlobalConfigDictParserConfig) -> None:
        """Attach to a running head or start everything. Whatever was begun is ended again where this raises."""
        given = get_global_config_dict(global_config_dict_parser_config)
        try:
            self._head = _running_head(given) or self._start_all(given)
            names = read_configuration(self._head)
        except BaseException:
            self.shutdown()
            raise
        head_listens_at(_head_config(given), self._head)
        set_global_config_dict({**given, **names, HEAD_SERVER_KEY_NAME: given.get(HEAD_SERVER_KEY_NAME, {})})

    def poll(self) -> None:
        """Raises RuntimeError naming the process that ended, or the head that no longer answers."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"the process {name!r} of the gym ended with {process.returncode}")
        try:
            read_configuration(self._head)
        except ValueError as error:
            raise RuntimeError(str(error)) from error

    def shutdown(self) -> None:
        """End what was started here. Idempotent; a gym that ran before goes on."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes = {}

    def display_server_instance_info(self) -> None:
        print(f"gym: {self._head}", *(f"{name}: pid {one.pid}" for name, one in self._processes.items()), sep="\n")

    def wait_for_spinup(self) -> None:
        """`start` returns when everything is up."""
        self.poll()

    def _start_all(self, given: dict[str, Any]) -> str:
        wanted = ours(given)
        services = self._begin("environments", ["env", "serve", *wanted.get("environments", [])])
        policy = wanted.get("policy_url") or self._begin("policy", ["serve", *_upstream(given)])
        named = [part for name in _names(services) for part in ("--env", f"{name}={services}/{name}")]
        agent = self._begin("agent", ["agent", "serve", "--policy", policy, *named])
        at = _head_config(given)
        # Beyond loopback our services want a token; without one the trainer's own processes are all that may call.
        host = at.host if os.environ.get("PALAESTRA_TOKEN") else "127.0.0.1"
        listen = ["--host", host, "--port", str(at.port)]
        return self._begin("head", ["nemo-gym", "serve", "--agent", agent, "--policy", policy, *named, *listen])

    def _begin(self, name: str, arguments: Sequence[str]) -> str:
        """Start one service; its address. Raises RuntimeError where it ends first or says nothing in time."""
        command = [*_command(), *map(str, arguments), "--parent-pid", str(os.getpid())]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._processes[name] = process
        late = threading.Timer(READY_S, process.kill)
        late.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        late.cancel()
        try:
            return str(json.loads(line)["url"])
        except (json.JSONDecodeError, KeyError):
            raise RuntimeError(f"the process {name!r} did not start: {' '.join(command)}") from None


def _running_head(given: dict[str, Any]) -> str:
    named = os.environ.get("PALAESTRA_HEAD") or ours(given).get("head") or ""
    return str(named).rstrip("/")


def _head_config(given: dict[str, Any]) -> BaseServerConfig:
    at = given.get(HEAD_SERVER_KEY_NAME) or {}
    return BaseServerConfig(at.get("host", "127.0.0.1"), int(at.get("port", DEFAULT_HEAD_SERVER_PORT)))


def _upstream(given: dict[str, Any]) -> list[str]:
    urls = given.get(POLICY_BASE_URL_KEY_NAME) or []
    urls = [urls] if isinstance(urls, str) else urls
    if not urls:
        raise ValueError(f"the configuration has neither {POLICY_BASE_URL_KEY_NAME} nor palaestra.policy_url")
    if len(urls) > 1:
        print(f"palaestra: {len(urls)} policy addresses given, the first is used: {urls[0]}", file=sys.stderr)
    name = str(given.get(POLICY_MODEL_NAME_KEY_NAME) or "policy")
    config = ours(given).get("policy_config")
    return ["--upstream", urls[0], "--upstream-model", name, *(["--config", config] if config else [])]


def _command() -> list[str]:
    found = os.environ.get("PALAESTRA_COMMAND") or shutil.which("palaestra")
    if not found:
        raise RuntimeError(
            "no gym runs and the command `palaestra` is not here: set PALAESTRA_HEAD or PALAESTRA_COMMAND"
        )
    return [found]


def _names(url: str) -> list[str]:
    token = os.environ.get("PALAESTRA_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/environments", headers=headers), timeout=READY_S
    ) as said:
        return [one["name"] for one in json.loads(said.read())["environments"]]


__all__ = ["GlobalConfigDictParserConfig", "RunHelper", "ServerClient"]
