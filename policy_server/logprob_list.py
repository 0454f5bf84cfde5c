"""Log-probabilities as OpenAI lists them: one entry a token, with the alternatives that were asked for."""

from __future__ import annotations

from typing import Any

from policy_server.prompts import Prompts
from policy_server.requests import Sample


def logprob_list(sample: Sample, prompts: Prompts, *, as_ids: bool = False) -> list[dict[str, Any]]:
    """{"token", "logprob", "bytes", "top_logprobs"} of every token; tokens by number with `as_ids`."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        data = prompts.tokenizer.token_bytes(token, sampled=True)
        text = f"token_id:{token}" if as_ids else data.decode("utf-8", "replace")
        return {"token": text, "logprob": logprob, "bytes": list(data)}

    told = sample.top_logprobs or [[]] * len(sample.token_ids)
    pairs = zip(sample.token_ids.tolist(), sample.logprobs.tolist(), told, strict=True)
    return [
        entry(token, logprob) | {"top_logprobs": [entry(*one) for one in others]} for token, logprob, others in pairs
    ]
