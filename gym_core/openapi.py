"""The OpenAPI 3.1 description of one environment, made from its tools and our records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gym_core.contracts import PendingVerdict, RunOptions, UserMessage, Verdict
from gym_core.errors import ErrorInfo
from gym_core.requests import AggregateRequest, GroupVerdictRequest, IngestRequest, TasksRequest, UserTurnRequest
from gym_core.tools import USER_TURN, ToolSpec

_REF = "#/components/schemas/{name}"
_OBJECT: dict[str, Any] = {"type": "object"}
_ERROR = {"type": "object", "properties": {"error": {"$ref": _REF.format(name="ErrorInfo")}}}
_ROW = {
    "type": "object",
    "description": "one task: OpenAI Responses create parameters and the environment's own fields",
    "properties": {"responses_create_params": _OBJECT, "task_ref": _OBJECT},
    "required": ["responses_create_params"],
}
_SESSION = [
    {
        "name": "X-Palaestra-Session",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "session id; the cookie of /seed_session does as well",
    }
]


def describe(manifest: Mapping[str, Any], tools: Mapping[str, ToolSpec], base: str = "") -> dict[str, Any]:
    """The document; `base` is the path of the environment on this server."""
    bodies = [TasksRequest, IngestRequest, GroupVerdictRequest, AggregateRequest]
    records = [Verdict, PendingVerdict, RunOptions, ErrorInfo, *bodies]
    if manifest.get("user_turns"):
        records += [UserTurnRequest, UserMessage]
    _, schemas = msgspec.json.schema_components(records, ref_template=_REF)

    def ref(name: str) -> dict[str, Any]:
        return {"$ref": _REF.format(name=name)}

    verdict = {"type": "object", "properties": {"reward": {"type": "number"}, "verdict": ref("Verdict")}}
    pending = {"type": "object", "properties": {"pending": ref("PendingVerdict")}}
    asked = {
        "type": "object",
        "properties": {
            "responses_create_params": _OBJECT,
            "response": {"type": "object", "properties": {"output": {"type": "array", "items": _OBJECT}}},
            "session_id": {"type": "string"},
            "palaestra": ref("RunOptions"),
        },
        "required": ["response"],
    }
    paths: dict[str, Any] = {
        "/manifest": {"get": _operation("What the environment is", replies={"200": _OBJECT})},
        "/tasks": {"post": _operation("Generate tasks", ref("TasksRequest"), {"200": _OBJECT})},
        "/ingest": {"post": _operation("Check rows from outside", ref("IngestRequest"), {"200": _OBJECT})},
        "/seed_session": {"post": _operation("Open a session for a row", _ROW, {"200": _OBJECT})},
        "/verify": {"post": _operation("Grade a rollout", asked, {"200": verdict, "202": pending}, _SESSION)},
        "/group_verdict": {
            "post": _operation("A group's verdict", ref("GroupVerdictRequest"), {"200": verdict, "202": pending})
        },
        "/close_session": {"post": _operation("Close a session", _OBJECT, {"200": _OBJECT}, _SESSION)},
        "/aggregate_metrics": {
            "post": _operation("Scored rollouts as a few numbers", ref("AggregateRequest"), {"200": _OBJECT})
        },
        "/reverify_mode": {
            "get": _operation("May stored rollouts be graded again?", replies={"200": {"type": "string"}})
        },
    }
    if manifest.get("user_turns"):
        said = _operation("Speak to the user", ref("UserTurnRequest"), {"200": ref("UserMessage")}, _SESSION)
        paths[f"/{USER_TURN}"] = {"post": said}
    for name, spec in tools.items():
        parameters = {key: value for key, value in spec.parameters.items() if key != "$defs"}
        schemas.update(spec.parameters.get("$defs", {}))
        paths[f"/{name}"] = {"post": _tool(spec.description, _moved(parameters))}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": manifest["name"],
            "version": manifest["version"],
            "description": manifest.get("description", ""),
        },
        "servers": [{"url": base or "/"}],
        "paths": paths,
        "components": {"schemas": _moved(schemas)},
    }


def _operation(
    summary: str,
    body: dict[str, Any] | None = None,
    replies: Mapping[str, dict[str, Any]] | None = None,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": summary}
    if parameters:
        found["parameters"] = parameters
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    found["responses"] = {
        status: {"description": summary, "content": {"application/json": {"schema": schema}}}
        for status, schema in {**(replies or {}), "default": _ERROR}.items()
    }
    return found


def _tool(summary: str, body: dict[str, Any]) -> dict[str, Any]:
    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}
    found = _operation(summary or "A tool", body, parameters=_SESSION)
    found["responses"] |= {
        "200": {"description": "the tool's output", **text},
        "422": {"description": "the tool says no; the text is for the model", **text},
        "500": {"description": "the tool broke; the text is for the model", **text},
    }
    return found


def _moved(schema: Any) -> Any:
    """References of a tool's own `$defs`, pointed at the document's components."""
    if isinstance(schema, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/")
            if key == "$ref" and isinstance(value, str)
            else _moved(value)
            for key, value in schema.items()
        }
    return [_moved(item) for item in schema] if isinstance(schema, list) else schema
