"""The configuration that a trainer gives, and the names of its keys. Plain dictionaries, whatever came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEAD_SERVER_KEY_NAME = "head_server"
AGENT_REF_KEY_NAME = "agent_ref"
TASK_SOURCE_KEY_NAME = "task_source"
TASK_INDEX_KEY_NAME = "_ng_task_index"
ROLLOUT_INDEX_KEY_NAME = "_ng_rollout_index"
ATTEMPT_INDEX_KEY_NAME = "_ng_attempt_index"
ROLLOUT_ID_KEY_NAME = "_ng_rollout_id"
POLICY_BASE_URL_KEY_NAME = "policy_base_url"
POLICY_API_KEY_KEY_NAME = "policy_api_key"
POLICY_MODEL_NAME_KEY_NAME = "policy_model_name"

_current: dict[str, Any] | None = None


@dataclass
class GlobalConfigDictParserConfig:
    """What `RunHelper.start` is given. Only `initial_global_config_dict` is read: there is no file and no command line
    to merge it with."""

    dotenv_path: Path | None = None
    initial_global_config_dict: Any = None
    skip_load_from_cli: bool = False
    skip_load_from_dotenv: bool = False
    hide_secrets: bool = False
    offline: bool = False


def get_global_config_dict(
    global_config_dict_parser_config: GlobalConfigDictParserConfig | None = None,
) -> dict[str, Any]:
    """The configuration of the gym that was started here, or the one given. Raises ValueError for neither."""
    if global_config_dict_parser_config is not None:
        return plain(global_config_dict_parser_config.initial_global_config_dict or {})
    if _current is None:
        raise ValueError("no gym was started here: call RunHelper().start(…) first")
    return _current


def ours(config: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """The section `palaestra` of a configuration, of the current one without an argument."""
    found: Mapping[str, Any] = (_current if config is None else config) or {}
    return found.get("palaestra") or {}


def set_global_config_dict(config: dict[str, Any] | None) -> None:
    global _current
    _current = config


def get_first_server_config_dict(global_config_dict: Mapping[str, Any], top_level_path: str) -> Mapping[str, Any]:
    """The innermost of the three levels under a name. Raises KeyError with the names that there are."""
    if top_level_path not in global_config_dict:
        raise KeyError(f"no server {top_level_path!r}; there are {', '.join(map(str, global_config_dict))}")
    kind = next(iter(global_config_dict[top_level_path].values()))
    server: Mapping[str, Any] = next(iter(kind.values()))
    return server


def plain(value: Any) -> Any:
    """Dictionaries and lists in place of whatever behaves like them (OmegaConf's, for one)."""
    if hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return value
    return [plain(item) for item in value]
