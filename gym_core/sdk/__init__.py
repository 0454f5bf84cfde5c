"""The client of an agent server, for trainers and notebooks: `pip install palaestra[client]`.

    with Client("http://127.0.0.1:8100") as client:
        for group in client.groups(client.tasks("math", count=8), size=4):
            print(group.rewards, group.members[0].traces[0].token_ids)

`AsyncClient` has the same methods as coroutines. Errors are those of `gym_core.errors`.
"""

from gym_core.sdk.aio import AsyncClient
from gym_core.sdk.played import Played, PlayedGroup
from gym_core.sdk.sync import Client

__all__ = ["AsyncClient", "Client", "Played", "PlayedGroup"]
