"""Many clients at once over HTTP, for tests that count what gets through."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp

from tests.end_to_end.installation import Installation


def consume_at_once(
    installation: Installation, bodies: list[dict[str, Any]], *, clients: int
) -> list[dict[str, Any]]:
    """The answers to all requests, sent by so many clients, each with a connection of its own and one at a time."""
    return asyncio.run(_consume(installation, bodies, clients))


async def _consume(
    installation: Installation, bodies: list[dict[str, Any]], clients: int
) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    waiting: Iterator[dict[str, Any]] = iter(bodies)
    headers = {"Authorization": f"Bearer {installation.admin_key}"}

    async def client() -> None:
        async with aiohttp.ClientSession(headers=headers) as session:
            for body in waiting:
                url = f"{installation.gateway_url}/v1/consume"
                async with session.post(url, json=body) as answer:
                    found = await answer.json(content_type=None)
                    answers.append({**found, "http": answer.status, "headers": answer.headers})

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return answers


def reasons(answers: list[dict[str, Any]]) -> Counter[str]:
    """How often each reason was given; a problem counts as its code."""
    return Counter(answer.get("reason") or answer.get("code", "?") for answer in answers)
