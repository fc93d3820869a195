"""The usual way to ask a judge: the SDK's own retries, `json.loads`, and 0 for what fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import openai

from imece.events import Envelope, JudgementRequested
from services.llm_judge import core


async def failed(
    url: str, asked: Sequence[Envelope[JudgementRequested]], calls: int, timeout: float
) -> int:
    """Return how many of `asked`, in one order each, end as a failure that would score 0."""
    turns = asyncio.Semaphore(calls)
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=2, timeout=timeout)

    async def ask(request: JudgementRequested) -> bool:
        messages: list[openai.types.chat.ChatCompletionMessageParam] = [
            {"role": "system", "content": said["content"]}
            if said["role"] == "system"
            else {"role": "user", "content": said["content"]}
            for said in core.messages(request, swapped=False)
        ]
        try:
            async with turns:
                told = await client.chat.completions.create(model="stub", messages=messages)
            return json.loads(told.choices[0].message.content or "")["winner"] in (
                "first",
                "second",
            )
        except Exception:  # as the usual way has it: whatever goes wrong is a 0
            return False

    async with client:
        good = await asyncio.gather(*(ask(each.data) for each in asked))
    return len(asked) - sum(good)
