"""The policy server as an aiohttp app: OpenAI's routes, the token plane, weights and scores over one backend."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import msgspec
import numpy as np
from aiohttp import web

from gym_core.access import Access
from gym_core.errors import BadRequest
from gym_core.serve import DOOR, deadline_s, harden, json_reply, read_json
from gym_core.telemetry import Metrics
from gym_core.tokens import FRAME_TYPE
from model.tokenizer import Tokenizer
from model.weight_layout import places_of
from policy_server import chat_completions, completions, responses, streams
from policy_server.answers import take_turn
from policy_server.config import PolicyConfig
from policy_server.echo import echo_of, unsampled
from policy_server.engine import Engine
from policy_server.openai_error import openai_error
from policy_server.params import require_model
from policy_server.prompts import Prompts
from policy_server.requests import Backend, WeightHolder
from policy_server.response_stream import stream_response
from policy_server.score import score, score_both
from policy_server.token_routes import DetokenizeParams, TokenizeParams, detokenize, tokenize
from policy_server.turns import read_turn, write_turn
from policy_server.vllm.backend import VllmBackend
from policy_server.weight_body import receive
from policy_server.weights import Taken, WeightsParams, audit, load_weights

_NOW = frozenset({"running", "waiting", "commands", "drains", "free_slots"})
"""What the engine's counts say of this moment; the others count from its start."""

BACKEND: web.AppKey[Backend] = web.AppKey("policy_backend", Backend)


def build_app(
    backend: Backend, tokenizer: Tokenizer, config: PolicyConfig | None = None, *, token: Access | str | None = None
) -> web.Application:
    """The app. The backend stays the caller's: started before, closed after."""
    app = web.Application()
    app[BACKEND] = backend
    Routes(backend, Prompts(tokenizer), config or PolicyConfig()).add_to(app)
    guard(app, token)
    if isinstance(backend, Engine | VllmBackend):
        _publish_stats(backend, app[DOOR].metrics)
    return app


def guard(app: web.Application, token: Access | str | None) -> None:
    """The door of every policy server, one or a router over many: errors in OpenAI's shape, and who may do what."""
    scopes = dict.fromkeys(("/weights", "/weights/body"), "policy:weights")
    streamed = ("/weights/body",)  # too large to be held as one; `weight_body` reads it, under a deadline
    harden(app, "policy", token, error_body=openai_error, scope="policy:generate", scopes=scopes, streamed=streamed)


def _publish_stats(engine: Engine | VllmBackend, metrics: Metrics) -> None:
    """The engine's counts under /metrics, read when they are asked for."""
    for name in engine.stats:
        metric, about = f"palaestra_policy_{name}", f"Policy engine: {name.replace('_', ' ')}"
        if name in _NOW:
            metrics.gauge(metric, about).set_function(partial(_stat, engine, name))
        else:
            metrics.read_counter(metric, about).read(partial(_stat, engine, name))


def _stat(engine: Engine | VllmBackend, name: str) -> float:
    return engine.stats[name]


class ScoreParams(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /score; `decode` asks for the scores of decoding too."""

    token_ids: list[list[int]]
    decode: bool = False


class Routes:
    """The handlers; what they share is given once."""

    def __init__(self, backend: Backend, prompts: Prompts, config: PolicyConfig) -> None:
        self.backend, self.prompts, self.config = backend, prompts, config
        self._since = int(time.time())

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/models/{name:.+}", self.model)
        app.router.add_get("/version", self.version)
        app.router.add_post("/v1/responses", self.responses)
        app.router.add_post("/v1/chat/completions", self.chat_completions)
        app.router.add_post("/v1/completions", self.completions)
        for prefix in ("", "/v1"):
            app.router.add_post(f"{prefix}/tokenize", self.tokenize)
            app.router.add_post(f"{prefix}/detokenize", self.detokenize)
        app.router.add_post("/score", self.score)
        app.router.add_post("/weights", self.weights)
        app.router.add_post("/weights/body", self.weights_body)
        app.router.add_get("/weights/bytes", self.weights_bytes)
        app.router.add_get("/weights/checksums", self.weights_checksums)

    async def responses(self, request: web.Request) -> web.StreamResponse:
        if request.content_type == FRAME_TYPE:
            return await self._turn(request)
        params: responses.ResponsesParams = await read_json(request, responses.ResponsesParams)
        require_model(params.model, self.backend.model_name)
        conversation = responses.conversation_of(params, self.config)
        generate = responses.generate_request(params, self.config, self._deadline(request))
        if params.stream:
            return await stream_response(request, self.backend, self.prompts, conversation, generate, params)
        turn = await take_turn(self.backend, self.prompts, conversation, generate)
        body = responses.response_object(turn, params, self.backend.model_name)
        return json_reply(
            responses.with_echo(responses.with_logprobs(body, turn, params, self.prompts), params, generate)
        )

    async def _turn(self, request: web.Request) -> web.Response:
        params, conversation = read_turn(await request.read(), self.config)
        require_model(params.model, self.backend.model_name)
        generate = responses.generate_request(params, self.config, self._deadline(request))
        turn = await take_turn(self.backend, self.prompts, conversation, generate)
        return web.Response(body=write_turn(turn, params, self.backend.model_name), content_type=FRAME_TYPE)

    async def chat_completions(self, request: web.Request) -> web.StreamResponse:
        params: chat_completions.ChatParams = await read_json(request, chat_completions.ChatParams)
        require_model(params.model, self.backend.model_name)
        conversation = chat_completions.conversation_of(params, self.config)
        generate = chat_completions.generate_request(params, self.config, self._deadline(request))
        if params.stream:
            return await streams.stream_chat(request, self.backend, self.prompts, conversation, generate, params)
        turn = await take_turn(self.backend, self.prompts, conversation, generate)
        return json_reply(chat_completions.completion_object(turn, params, self.backend.model_name, self.prompts))

    async def completions(self, request: web.Request) -> web.StreamResponse:
        params: completions.CompletionParams = await read_json(request, completions.CompletionParams)
        require_model(params.model, self.backend.model_name)
        tokens = completions.prompts_of(params, self.prompts)
        generate = completions.generate_request(params, self.config, self._deadline(request))
        echoes = None
        if params.echo:
            echoes = await echo_of(self.backend, tokens, self.prompts, params.logprobs is not None)
        if params.stream:
            asked = completions.Asked(tokens, generate, params, echoes)
            return await streams.stream_completion(request, self.backend, self.prompts, asked)
        if params.echo and params.max_tokens == 0:
            results = unsampled(tokens, generate.n)
        else:
            results = await completions.complete(self.backend, tokens, generate)
        body = completions.completion_object(results, params, self.backend.model_name, self.prompts, echoes)
        return json_reply(body)

    async def models(self, _: web.Request) -> web.Response:
        return json_reply({"object": "list", "data": [self._model()]})

    async def model(self, request: web.Request) -> web.Response:
        require_model(request.match_info["name"], self.backend.model_name)
        return json_reply(self._model())

    def _model(self) -> dict[str, Any]:
        model = {"id": self.backend.model_name, "object": "model", "created": self._since, "owned_by": "palaestra"}
        return model | {"max_model_len": self.backend.max_length}

    async def version(self, _: web.Request) -> web.Response:
        return json_reply({"version": self.backend.version, "model": self.backend.model_name})

    async def tokenize(self, request: web.Request) -> web.Response:
        params: TokenizeParams = await read_json(request, TokenizeParams)
        return json_reply(tokenize(params, self.prompts, self.config, self.backend.max_length))

    async def detokenize(self, request: web.Request) -> web.Response:
        return json_reply(detokenize(await read_json(request, DetokenizeParams), self.prompts))

    async def score(self, request: web.Request) -> web.Response:
        params: ScoreParams = await read_json(request, ScoreParams)
        if params.decode:
            scores, decoded, version = await score_both(self._engine(), params.token_ids)
            return json_reply(
                {"logprobs": _lists(scores), "decode_logprobs": _lists(decoded), "policy_version": version}
            )
        if isinstance(self.backend, WeightHolder):
            scores, version = await self.backend.score(params.token_ids)
        else:
            scores, version = await score(self._engine(), params.token_ids)
        return json_reply({"logprobs": _lists(scores), "policy_version": version})

    async def weights(self, request: web.Request) -> web.Response:
        params: WeightsParams = await read_json(request, WeightsParams)
        if not isinstance(self.backend, WeightHolder):
            return json_reply(await load_weights(self._engine(), params))
        if not params.path:
            raise BadRequest("this engine takes its weights from disk", field="path", hint="publish by disk")
        began = time.perf_counter()
        checksums = await self.backend.load_weights(params.path, params.version, params.checksums)
        seconds = {"switch": time.perf_counter() - began}
        return json_reply(Taken(version=self.backend.version, checksums=checksums, seconds=seconds))

    async def weights_body(self, request: web.Request) -> web.Response:
        return json_reply(await receive(self._engine(), request))

    async def weights_bytes(self, _: web.Request) -> web.Response:
        return json_reply({"nbytes": places_of(self._engine().model)[1]})

    async def weights_checksums(self, _: web.Request) -> web.Response:
        version, checksums = await audit(self._engine())
        return json_reply({"version": version, "checksums": checksums})

    def _engine(self) -> Engine:
        if isinstance(self.backend, WeightHolder):
            raise BadRequest(
                "the engine behind this server cannot do that", hint="publish by disk, score without decode"
            )
        if not isinstance(self.backend, Engine):
            raise BadRequest("this server forwards to an upstream and holds no weights itself", hint="ask the upstream")
        return self.backend

    def _deadline(self, request: web.Request) -> float:
        return deadline_s(request, self.config.deadline_s)


def _lists(rows: list[np.ndarray]) -> list[list[float]]:
    return [row.tolist() for row in rows]
