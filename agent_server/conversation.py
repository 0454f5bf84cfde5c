"""The turns of one rollout: the policy's, its tools', and the user's where the environment has one.

    [ generate ─▶ tools ]* ─▶ words ─▶ user ─▶ [ generate ─▶ tools ]* ─▶ words ─▶ … ─▶ the user leaves

Without a user the first words are the answer. Bounds: `max_steps` turns of the policy, `max_turns` messages of the
user, the tokens of the rollout, and the deadline around all of it. What tools and users say is never trained on.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agent_server.config import AgentConfig
from agent_server.directory import EnvironmentPeer
from agent_server.play import Play, Timed
from agent_server.policy import Policy, Turn
from agent_server.tools import ToolCaller
from gym_core import headers
from gym_core.contracts import UserMessage
from gym_core.dialogue import user_item
from gym_core.errors import EnvironmentFault
from gym_core.seeds import derive
from gym_core.tools import USER_TURN

Items = list[dict[str, Any]]


class Conversation:
    """Plays the turns of `play`; what is said and done lands in its rollout."""

    def __init__(self, config: AgentConfig, policy: Policy, play: Play, peer: EnvironmentPeer) -> None:
        self._config = config
        self._policy = policy
        self._play = play
        self._peer = peer
        self._items: Items = list(play.task.messages)
        self._covered = 0
        self._left = config.max_output_tokens
        self._tools = ToolCaller(
            peer,
            play.session_id,
            play.task.tools,
            timeout_s=config.tool_s,
            max_chars=config.max_tool_output_chars,
            max_calls=config.max_tool_calls_per_turn,
        )

    async def hold(self) -> None:
        """Take turns until there is an answer or the user has left; a bound that was met marks the play truncated."""
        play = self._play
        max_steps = play.options.max_steps or self._peer.max_steps or self._config.max_steps
        for step in range(max_steps):
            turn = await self._generate(step)
            calls = [item for item in turn.output if item.get("type") == "function_call"]
            if turn.finish_reason == "length" or self._left <= 0:
                break
            if calls and self._peer.has_tools:
                if step < max_steps - 1:
                    await self._call(calls)
                continue
            # Where an environment has no tools, a function call is an answer in that form.
            if not self._peer.user_turns:
                return
            if self._heard_enough():
                break
            if not await self._ask_user(turn):
                return
        play.truncated = True

    async def _generate(self, step: int) -> Turn:
        play = self._play
        play.stage = "generate"
        with Timed(play, "generate"):
            turn = await self._policy.turn(
                self._request(step),
                self._covered,
                play.book.current,
                self._config.generate_s,
                f"{play.rollout.rollout_id or id(play)}-{step}",
            )
        _take(play, turn)
        self._items += turn.output
        self._covered = len(self._items)
        self._left -= turn.output_tokens
        return turn

    async def _call(self, calls: Items) -> None:
        play = self._play
        play.stage = "tool"
        with Timed(play, "tool"):
            results = await self._tools.call_all(calls)
        play.usage.tool_calls += len(results)
        play.usage.tool_errors += sum(not result.ok for result in results)
        self._hear([result.item for result in results])

    def _heard_enough(self) -> bool:
        most = self._play.options.max_turns
        return most is not None and self._play.usage.user_turns + 1 >= most

    async def _ask_user(self, turn: Turn) -> bool:
        """Hear what the user answers to this turn; False where the user has left."""
        play = self._play
        play.stage = "user"
        key = f"{play.rollout.rollout_id or id(play)}-user-{play.usage.user_turns}"
        with Timed(play, "user"):
            reply = await self._peer.client.post(
                f"/{USER_TURN}",
                {"response": {"output": turn.output}},
                headers={headers.SESSION: play.session_id, headers.IDEMPOTENCY: key},
                timeout_s=self._config.user_s,
            )
        try:
            said = msgspec.json.decode(reply.body, type=UserMessage)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise EnvironmentFault(f"the user's turn cannot be read: {error}") from error
        if said.message is None:
            return False
        play.usage.user_turns += 1
        self._hear([user_item(said.message)])
        return True

    def _hear(self, items: Items) -> None:
        self._items += items
        self._play.rollout.output.extend(items)

    def _request(self, step: int) -> dict[str, Any]:
        play = self._play
        params, sampling = play.task.responses_create_params, play.options.sampling
        request = {**params, "input": self._items, "seed": derive(play.options.seed, "turn", step)}
        for name in ("temperature", "top_p", "stop"):
            value = getattr(sampling, name)
            if value is not None:
                request[name] = value
        asked = sampling.max_output_tokens or params.get("max_output_tokens")
        request["max_output_tokens"] = min(asked, self._left) if asked else self._left
        if sampling.routed_experts is not None:
            request["return_routed_experts"] = sampling.routed_experts
        if sampling.thinking is not None:
            request["chat_template_kwargs"] = {"enable_thinking": sampling.thinking}
        return request


def _take(play: Play, turn: Turn) -> None:
    """Enter a turn of the policy into the rollout: items, tokens, counts, versions."""
    rollout = play.rollout
    rollout.output.extend(turn.output)
    play.book.add(turn.segment, turn.began, len(rollout.output) - 1)
    rollout.finish_reason = turn.finish_reason
    play.usage.turns += 1
    play.usage.input_tokens += turn.input_tokens
    play.usage.output_tokens += turn.output_tokens
    if turn.version_max >= 0:
        low = rollout.policy_version_min
        rollout.policy_version_min = turn.version_min if low < 0 else min(low, turn.version_min)
        rollout.policy_version_max = max(rollout.policy_version_max, turn.version_max)
