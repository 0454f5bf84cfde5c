"""HTTP around one environment's service: bodies in, replies out, one handler per route."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from gym_core import headers
from gym_core.aggregate import aggregate
from gym_core.contracts import RUN_KEY, PendingVerdict, RunOptions
from gym_core.dispatch import STATUS
from gym_core.errors import BadRequest, BadSession, PalaestraError, misfit
from gym_core.openapi import describe
from gym_core.reply import text_output
from gym_core.requests import AggregateRequest, GroupVerdictRequest, IngestRequest, TasksRequest, UserTurnRequest
from gym_core.serve import deadline_s, json_reply, parse_json
from gym_core.service import EnvironmentService, author
from gym_core.told import Asked, Told
from gym_core.tools import USER_TURN

MAX_WAIT_S = 30.0
_NOT_ROW = frozenset({"response", "session_id", RUN_KEY})
_NO_OPTIONS = RunOptions()
_CLOSED = {headers.APPLIED: headers.CLOSE}


class Routes:
    """The handlers of one environment."""

    def __init__(self, service: EnvironmentService) -> None:
        self.service = service
        self.cookie = f"palaestra_session_{service.name}"
        self.tool_calls: dict[str, int] = {"ok": 0, "fault": 0, "exception": 0}
        self._told = Told()

    def add_to(self, router: web.UrlDispatcher, base: str) -> None:
        """Register everything below `base` ("" for the root). Tools have paths of their own, found in one look-up."""
        router.add_get(f"{base}/manifest", self.manifest)
        router.add_get(f"{base}/openapi.json", self.openapi)
        router.add_post(f"{base}/tasks", self.tasks)
        router.add_post(f"{base}/ingest", self.ingest)
        router.add_post(f"{base}/seed_session", self.seed_session)
        router.add_post(f"{base}/verify", self.verify)
        router.add_post(f"{base}/group_verdict", self.group_verdict)
        router.add_post(f"{base}/close_session", self.close_session)
        if self.service.environment.talks():
            router.add_post(f"{base}/{USER_TURN}", self.user_turn)
        router.add_post(f"{base}/aggregate_metrics", self.aggregate_metrics)
        router.add_get(f"{base}/reverify_mode", self.reverify_mode)
        for name in self.service.environment.tool_specs():
            router.add_post(f"{base}/{name}", self._tool(name))
        router.add_post(f"{base}/{{tool}}", self.unknown_tool)

    async def manifest(self, _: web.Request) -> web.Response:
        return json_reply(self.service.manifest())

    async def openapi(self, request: web.Request) -> web.Response:
        base = request.path.removesuffix("/openapi.json")
        return json_reply(describe(self.service.manifest(), self.service.environment.tool_specs(), base))

    async def tasks(self, request: web.Request) -> web.Response:
        asked: TasksRequest = parse_json(await request.read(), TasksRequest)
        rows = await self.service.tasks(
            seed=asked.seed, level=asked.level, count=asked.count, split=asked.split, start=asked.start
        )
        with author("tasks"):  # public fields that are no JSON are the author's mistake
            return json_reply({"tasks": rows})

    async def ingest(self, request: web.Request) -> web.Response:
        asked: IngestRequest = parse_json(await request.read(), IngestRequest)
        tasks, refused = await self.service.ingest(asked.rows)
        return json_reply({"tasks": tasks, "refused": refused})

    async def seed_session(self, request: web.Request) -> web.Response:
        row: dict[str, Any] = parse_json(await request.read(), dict[str, Any])
        key = request.headers.get(headers.IDEMPOTENCY, "")
        session_id = await self.service.seed(row, _options(row), key)
        reply = json_reply(
            {
                "session_id": session_id,
                "environment_version": self.service.environment.version,
                "ttl_s": self.service.sessions.ttl_s,
            }
        )
        reply.set_cookie(self.cookie, session_id, httponly=True, samesite="Strict")
        return reply

    def _tool(self, name: str) -> Any:
        async def call(request: web.Request) -> web.Response:
            session_id = self._session_id(request)
            if not session_id:
                raise BadSession("a tool call needs a session", field=headers.SESSION, hint="POST /seed_session first")
            limit_s = deadline_s(request, self.service.config.tool_s)
            answer = await self.service.call(name, await request.read(), session_id, limit_s)
            self.tool_calls[answer.kind] += 1
            return web.Response(
                body=answer.text.encode("utf-8", "replace"),
                status=STATUS[answer.kind],
                content_type="text/plain",
                charset="utf-8",
                headers={headers.TOOL: answer.kind},
            )

        return call

    async def user_turn(self, request: web.Request) -> web.Response:
        session_id = self._session_id(request)
        if not session_id:
            raise BadSession("a user's turn needs a session", field=headers.SESSION, hint="POST /seed_session first")
        asked: UserTurnRequest = parse_json(await request.read(), UserTurnRequest)
        if (asked.response is None) == (asked.reply is None):
            raise BadRequest("say what the policy said: `response` with its items, or `reply`", field="response")
        output = text_output(asked.reply or "") if asked.response is None else asked.response.output
        key = request.headers.get(headers.IDEMPOTENCY, "")
        limit_s = deadline_s(request, self.service.config.user_s)
        return json_reply(await self.service.user_turn(output, session_id, key, limit_s))

    async def unknown_tool(self, request: web.Request) -> web.Response:
        name = request.match_info["tool"]
        if self.service.environment.overrides("answer") and self._session_id(request):
            reply: web.Response = await self._tool(name)(request)  # perhaps a tool that only the row declares
            return reply
        raise self.service.unknown_tool(name)

    async def verify(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = parse_json(await request.read(), dict[str, Any])
        row = {key: value for key, value in body.items() if key not in _NOT_ROW}
        output = _output(body)
        session_id = _text(body, "session_id") or request.headers.get(headers.SESSION, "")
        if not session_id and (self.service.keeps_sessions or not row):
            session_id = request.cookies.get(self.cookie, "")
        limit_s = None
        if headers.DEADLINE in request.headers:
            limit_s = deadline_s(request, 3600.0)
        prefer = request.headers.get(headers.PREFER, "")
        asked = (session_id, request.headers.get(headers.IDEMPOTENCY, "")) if headers.CLOSE in prefer else None
        if asked is not None and (told := self._told.find(asked)) is not None:
            return web.Response(body=told, content_type="application/json", headers=_CLOSED)
        verdict = await self.service.verify(row, output, _options(body), session_id, limit_s)
        if isinstance(verdict, PendingVerdict):
            return json_reply({"pending": verdict}, status=202)
        with author("verify"):  # and so are details that are none
            if headers.MINIMAL not in prefer:
                return json_reply({**body, "reward": verdict.reward, "verdict": verdict})
            reply = json_reply({"verdict": verdict})
        if asked is not None and await self._close_with(asked, reply):
            reply.headers.update(_CLOSED)
        return reply

    async def _close_with(self, asked: Asked, reply: web.Response) -> bool:
        """End a session with its verdict; False leaves that to the caller. One that is kept on disk outlives a server
        that dies before the verdict has arrived, so its caller has to say that it did."""
        assert isinstance(reply.body, bytes)
        session_id, key = asked
        keeps_none = self.service.sessions.kept_on_disk or not self.service.keeps_sessions
        if keeps_none or not key or not self._told.remember(asked, reply.body):
            return False
        try:
            await self.service.sessions.close(session_id)
        except PalaestraError:  # the log has it; the session is gone, and the verdict stands
            return False
        return True

    async def group_verdict(self, request: web.Request) -> web.Response:
        asked: GroupVerdictRequest = parse_json(await request.read(), GroupVerdictRequest)
        wait_s = deadline_s(request, min(asked.wait_s, MAX_WAIT_S))
        found = await self.service.groups.wait(asked.group_id, asked.rollout_id, wait_s)
        if isinstance(found, PendingVerdict):
            return json_reply({"pending": found}, status=202)
        return json_reply({"verdict": found})

    async def close_session(self, request: web.Request) -> web.Response:
        body = await request.read()
        given = _text(parse_json(body, dict[str, Any]), "session_id") if body else ""
        session_id = given or self._session_id(request)
        if session_id:
            await self.service.sessions.close(session_id)
        reply = json_reply({})
        reply.del_cookie(self.cookie)
        return reply

    async def aggregate_metrics(self, request: web.Request) -> web.Response:
        asked: AggregateRequest = parse_json(await request.read(), AggregateRequest)
        return json_reply(aggregate(asked.verify_responses))

    async def reverify_mode(self, _: web.Request) -> web.Response:
        """NeMo Gym's word for whether stored rollouts can be graded again without a session."""
        return json_reply("unsupported" if self.service.keeps_sessions else "stateless")

    def _session_id(self, request: web.Request) -> str:
        return request.headers.get(headers.SESSION) or request.cookies.get(self.cookie, "")


def _options(body: dict[str, Any]) -> RunOptions:
    given = body.get(RUN_KEY)
    if given is None:
        return _NO_OPTIONS
    try:
        return msgspec.convert(given, RunOptions)
    except msgspec.ValidationError as error:
        what, path = misfit(error)
        raise BadRequest(what, field=f"{RUN_KEY}{path}") from None


def _output(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The Responses output in a verify body. Raises `BadRequest` naming what does not fit."""
    response = body.get("response")
    if not isinstance(response, dict):
        raise BadRequest("`response` must be an object with `output`", field="response")
    output = response.get("output")
    if not isinstance(output, list):
        raise BadRequest("`output` must be a list of Responses items", field="response.output")
    for number, item in enumerate(output):
        if not isinstance(item, dict):
            raise BadRequest("an output item must be an object", field=f"response.output[{number}]")
    return output


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str):
        raise BadRequest(f"`{key}` must be text", field=key)
    return value
