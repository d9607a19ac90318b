"""An orchestrator as the field writes them: Python's `websockets`, which pings by itself."""

import contextlib
import json

import websockets.asyncio.server
from interop_nodes import until


def entry(node, state="RUNNING", infos=None, **more):
    """What an orchestrator says of a node's deployment."""
    where = {"ip": "127.0.0.1", "port": node.port} if state == "RUNNING" else {"ip": None, "port": None}
    identity = {"deployment_id": node.deployment_id, "model_id": node.model_id, "state": state}
    return {**identity, **where, "infos": infos, **more}


class Orchestrator:
    """Announces entries and takes reports; a model that is reported is stopped."""

    def __init__(self):
        # By (model_id, deployment_id), in the order in which they were first announced: what `init` holds.
        self.entries = {}
        self.connections = []
        self.reports = []
        self.paths = []
        self.port = None

    @contextlib.asynccontextmanager
    async def listening(self):
        serving = websockets.asyncio.server.serve(self.follow, "127.0.0.1", 0, ping_interval=0.5, ping_timeout=30)
        async with serving as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self

    async def follow(self, connection):
        self.paths.append(connection.request.path)
        await connection.send(json.dumps({"event": "init", "data": list(self.entries.values())}))
        self.connections.append(connection)
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in connection:
                await self.heard(json.loads(message))

    async def heard(self, message):
        if message["event"] != "report_failure":
            return
        for report in message["data"]:
            self.reports.append(report)
            for known in [it for it in self.entries.values() if it["model_id"] == report["model_id"]]:
                await self.announce({**known, "state": "STOPPED", "ip": None, "port": None})

    def put(self, *entries):
        for it in entries:
            self.entries[it["model_id"], it["deployment_id"]] = it

    async def announce(self, *entries):
        """An update; it is in every later `init` too."""
        self.put(*entries)
        await self.send(json.dumps({"event": "update", "data": entries}))

    async def send(self, message):
        """A text or binary message to whoever listens now."""
        for connection in self.connections:
            with contextlib.suppress(websockets.ConnectionClosed):
                await connection.send(message)

    async def cut(self):
        """Breaks the connections without a word, and waits until somebody is back."""
        before, self.connections = self.connections, []
        for connection in before:
            connection.transport.abort()
        await until(lambda: self.connections, "the client comes back")

    async def until_ponged(self):
        """Waits until the newest connection has answered a ping of this server."""
        connection = self.connections[-1]
        await until(lambda: connection.latency > 0, "a ping is answered")
