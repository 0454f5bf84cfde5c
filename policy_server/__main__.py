"""A policy server as a process: `python -m policy_server [--config FILE] [--host H] [--port N] [setting=value …]`.

Settings are those of `PolicyConfig`, from defaults, the file's section `policy`, `PALAESTRA_POLICY_*` and the command
line. The bearer token comes from the environment or the secrets file, never from the command line.
"""

from __future__ import annotations

import argparse
import sys

from aiohttp import web

from gym_core import config, serve
from gym_core.errors import BadRequest, PalaestraError
from policy_server.app import build_app
from policy_server.closing import close_with
from policy_server.config import PolicyConfig
from policy_server.launch import open_backend


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM. Exit code 2 with one line on stderr when a setting is wrong or the port is taken."""
    parser = argparse.ArgumentParser(prog="policy_server", description=__doc__)
    parser.add_argument("--config", help="TOML file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("settings", nargs="*", metavar="setting=value")
    given = parser.parse_args(arguments)
    try:
        settings = config.load(PolicyConfig, given.config, "policy", overrides=dict(map(_setting, given.settings)))
        app = _app(settings)
    except PalaestraError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    serve.main(app, given.host, given.port)


def _setting(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise BadRequest(f"{text!r} is not setting=value")
    return name, value


def _app(settings: PolicyConfig) -> web.Application:
    backend, tokenizer = open_backend(settings)
    app = build_app(backend, tokenizer, settings)
    close_with(app, backend)
    return app


if __name__ == "__main__":
    main(sys.argv[1:])
