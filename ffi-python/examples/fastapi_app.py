"""Rooms over websockets: who is in a room, on all workers. Run two of them beside a nats-server:

    NATS_URL=nats://127.0.0.1:4222 uvicorn fastapi_app:app --port 8001
    NATS_URL=nats://127.0.0.1:4222 uvicorn fastapi_app:app --port 8002

Open ws://127.0.0.1:8001/rooms/lobby/ann and ws://127.0.0.1:8002/rooms/lobby/bob.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from headcount import LagError, TopicDiff, aio


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    async with aio.connect(url, heartbeat=0.5, down_after=2.5) as node:
        app.state.node = node
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/rooms/{room}")
async def members(room: str) -> list[str]:
    node: aio.Node = app.state.node
    return sorted({str(entry.key) for entry in node.list(room)})


def message(change: TopicDiff) -> dict[str, list[object]]:
    return {
        "joins": [{"user": entry.key, "ref": entry.ref} for entry in change.joins],
        "leaves": [{"user": entry.key, "ref": entry.ref} for entry in change.leaves],
    }


async def tell(socket: WebSocket, node: aio.Node, room: str) -> None:
    """Send the members of the room, then each change, as long as the task runs."""
    while True:
        await socket.send_json({"reset": True})
        with contextlib.suppress(LagError):  # A client too slow begins with the state once more.
            async with node.subscribe(room) as changes:
                async for change in changes:
                    await socket.send_json(message(change))
                return


@app.websocket("/rooms/{room}/{user}")
async def join(socket: WebSocket, room: str, user: str) -> None:
    await socket.accept()
    node: aio.Node = app.state.node
    async with node.presence(room, user), asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(tell(socket, node, room))
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await socket.receive_text()
        telling.cancel()
