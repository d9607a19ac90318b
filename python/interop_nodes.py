"""Model nodes as the field writes them: Python's grpcio, generated stubs, json.dumps. They note what they are sent.

A node is a class: it overrides what it does differently. What a method returns travels as model_runner_client encodes
it; raise `Said` for a status of the protocol and `Aborted` for a status of gRPC.
"""

import asyncio
import contextlib
import json
import struct
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from model_runner_client.grpc.generated import commons_pb2 as commons
from model_runner_client.grpc.generated import dynamic_subclass_pb2 as wire
from model_runner_client.grpc.generated.dynamic_subclass_pb2_grpc import (
    DynamicSubclassServiceServicer,
    add_DynamicSubclassServiceServicer_to_server,
)
from model_runner_client.utils.datatype_transformer import detect_data_type, encode_data

# The whole machine may be busy; nothing waits for as long as this unless something is wrong.
PATIENCE = 60


class Said(Exception):
    """A status of the protocol in place of an answer."""

    def __init__(self, code, message):
        super().__init__(code, message)
        self.status = commons.Status(code=code, message=message)


class Aborted(Exception):
    """A status of gRPC in place of an answer."""

    def __init__(self, code, details):
        super().__init__(code, details)
        self.code, self.details = code, details


def normal(scale):
    return {"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": scale}}


def densities(horizon, step, scale=1e-3):
    return [{"step": at, **normal(scale)} for at in range(step, horizon + 1, step)]


class Node:
    """Answers everything; on a port of its own, without TLS."""

    options = ()
    compression = None
    # What its health check says; without one there is no health service.
    health = None
    # TLS, and the metadata that every answer begins with.
    credentials = None
    metadata = ()

    def __init__(self, model_id, deployment_id="d1"):
        self.model_id, self.deployment_id = model_id, deployment_id
        self.port = None
        self.server = None
        # In the order of their coming: the full name of each Setup's class, and (method, [(position, type, value)]).
        self.setups, self.calls = [], []
        # Each asset's points, and how many came with each tick.
        self.history, self.ticks = {}, []
        self.in_flight, self.most_in_flight = 0, 0
        self.times_left, self.peers = set(), []

    # ---- what a submission does -------------------------------------------------------------------------------------

    async def setup(self):
        """Makes the one instance."""

    async def tick(self, prices):
        """Is told prices."""

    async def predict(self, asset, horizon, step):
        return densities(horizon, step)

    async def predict_all(self, asset, horizon, steps):
        return {str(step): densities(horizon, step) for step in steps}

    # ---- what was seen ----------------------------------------------------------------------------------------------

    def asked(self):
        return sum(method != "tick" for method, _ in self.calls)

    async def until(self, holds, what):
        """Waits until something holds of the node."""
        await until(lambda: holds(self), f"{self.model_id}: {what}")

    async def until_asked_again(self):
        asked = self.asked()
        await self.until(lambda node: node.asked() > asked, "it is asked again")

    # ---- the server -------------------------------------------------------------------------------------------------

    async def start(self, port=0):
        self.server = grpc.aio.server(options=self.options, compression=self.compression)
        await self.listen(port, Asynchronous(self), health.aio.HealthServicer)
        await self.server.start()

    async def listen(self, port, servicer, health_servicer):
        add_DynamicSubclassServiceServicer_to_server(servicer, self.server)
        if self.health is not None:
            checks = health_servicer()
            done = checks.set("", self.health)
            if done is not None:
                await done
            health_pb2_grpc.add_HealthServicer_to_server(checks, self.server)
        address = f"127.0.0.1:{port}"
        if self.credentials is None:
            self.port = self.server.add_insecure_port(address)
        else:
            self.port = self.server.add_secure_port(address, self.credentials)

    async def stop(self):
        await self.server.stop(None)

    async def served(self, request, context):
        """The answer to a Setup or a Call."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.times_left.add(time_left(context))
        self.peers.append(context.peer())
        try:
            if isinstance(request, wire.SetupRequest):
                return await self.set_up(request)
            return await self.called(request)
        finally:
            self.in_flight -= 1

    async def set_up(self, request):
        self.setups.append(request.className)
        try:
            await self.setup()
        except Said as said:
            return wire.SetupResponse(status=said.status)
        return wire.SetupResponse(status=commons.Status(code="SUCCESS"))

    async def called(self, request):
        method, arguments = request.methodName, [decoded(it) for it in request.methodArguments]
        # Before the call does anything: a call that fails was made all the same.
        self.calls.append((method, arguments))
        values = [value for _, _, value in arguments]
        try:
            value = await getattr(self, method)(*values)
        except Said as said:
            return wire.CallResponse(status=said.status)
        if method == "tick":
            self.take(values[0])
        return wire.CallResponse(status=commons.Status(code="SUCCESS"), methodResponse=as_variant(value))

    def take(self, prices):
        for asset, points in prices.items():
            self.history.setdefault(asset, []).extend(points)
        self.ticks.append(sum(map(len, prices.values())))


class Threaded(Node):
    """The same on grpcio's other server, `grpc.server` with a pool of threads."""

    async def start(self, port=0):
        pool = futures.ThreadPoolExecutor(max_workers=4)
        self.server = grpc.server(pool, options=self.options, compression=self.compression)
        await self.listen(port, Synchronous(self, asyncio.get_running_loop()), health.HealthServicer)
        self.server.start()

    async def stop(self):
        await asyncio.to_thread(self.server.stop(None).wait)


class Asynchronous(DynamicSubclassServiceServicer):
    """Serves a node on grpc.aio.server."""

    def __init__(self, node):
        self.node = node

    async def Setup(self, request, context):
        return await self.serve(request, context)

    async def Call(self, request, context):
        return await self.serve(request, context)

    async def serve(self, request, context):
        if self.node.metadata:
            await context.send_initial_metadata(self.node.metadata)
        try:
            return await self.node.served(request, context)
        except Aborted as aborted:
            await context.abort(aborted.code, aborted.details)


class Synchronous(DynamicSubclassServiceServicer):
    """Serves a node on grpc.server; its methods run on the loop, as those of the others."""

    def __init__(self, node, loop):
        self.node, self.loop = node, loop

    def Setup(self, request, context):
        return self.serve(request, context)

    def Call(self, request, context):
        return self.serve(request, context)

    def serve(self, request, context):
        if self.node.metadata:
            context.send_initial_metadata(self.node.metadata)
        try:
            return asyncio.run_coroutine_threadsafe(self.node.served(request, context), self.loop).result()
        except Aborted as aborted:
            context.abort(aborted.code, aborted.details)


@contextlib.asynccontextmanager
async def started(*nodes):
    """All of them, listening."""
    try:
        for node in nodes:
            await node.start()
        yield nodes
    finally:
        await asyncio.gather(*(node.stop() for node in nodes if node.server))


def time_left(context):
    """Until the deadline on the wire; where there is none, grpc.server speaks of more seconds than the world is old."""
    left = context.time_remaining()
    return None if left is None or left > 1e18 else left


def decoded(argument):
    """Position, type and value of an argument, read by its type alone."""
    kind, value = commons.VariantType.Name(argument.data.type), argument.data.value
    readers = {
        "NONE": lambda it: None,
        "DOUBLE": lambda it: struct.unpack("<d", it)[0],
        "INT": lambda it: struct.unpack("<q", it)[0],
        "STRING": bytes.decode,
        "JSON": json.loads,
    }
    return argument.position, kind, readers[kind](value)


def as_variant(value):
    """As nodes of the field encode what a method returned, unless it is on the wire already."""
    if isinstance(value, commons.Variant):
        return value
    kind = detect_data_type(value)
    return commons.Variant(type=kind, value=encode_data(kind, value))


async def until(holds, what):
    for _ in range(PATIENCE * 50):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise Failed(f"it did not come about that {what}")


class Failed(Exception):
    """The two sides do not agree."""
