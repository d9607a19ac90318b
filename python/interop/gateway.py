"""Gateway mode: the client calls our model host through a proxy that ends TLS, with a token in each call."""

import asyncio
import contextlib
import os
import pathlib
import re
import ssl
import tempfile
import time
import types
from unittest import mock

from grpc import StatusCode
from grpc.aio import AioRpcError
from model_runner_client.errors import InvalidCoordinatorUsageError
from model_runner_client.security import gateway_auth_interceptor
from model_runner_client.security.gateway_credentials import GatewayCredentials

from interop.client import called, plays, runner_at, set_up
from interop.credentials import Authority, documented
from interop.expecting import Failed, expect
from interop.programs import model_host
from interop.submissions import EXAMPLES

MODEL, OTHER_MODEL = "7", "8"
PIECE = 64 * 1024


async def check(options):
    """Fresh tokens of a known key for this model are taken, and no others."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        authority = Authority(folder / "authority")
        ours, strangers = (authority.coordinator(folder / name) for name in ("ours", "strangers"))
        # what gRPC takes for the roots of the system
        os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(authority.certificate)
        (ours / "tls.key").rename(ours / "coordinator.key")
        keys = folder / "gateway-keys"
        keys.write_text(documented("openssl pkey -in coordinator.key", ours))
        flags = ["--gateway-keys", keys, "--model-id", MODEL]
        own = authority.server(folder / "proxy", "localhost")
        async with model_host(options, EXAMPLES / "plain", *flags) as behind, proxy(own, behind) as address:
            await is_served(address, ours / "coordinator.key")
            await is_turned_away(address, MODEL, strangers / "tls.key", "a token of a key that the node does not know")
            await is_turned_away(address, OTHER_MODEL, ours / "coordinator.key", "a token for another model")


def runner(address, model_id, key):
    credentials = GatewayCredentials.from_pem(key.read_bytes())
    return runner_at(address, model_id=model_id, gateway_credentials=credentials)


async def is_served(address, key):
    async with set_up(runner(address, MODEL, key)) as client:
        await plays(client)
        with clock_behind(20):
            await called(client, "tick", {})
        print("the model plays behind the proxy, also with a token of 20 s")
        with clock_behind(60):
            await is_too_old(client)
        await called(client, "tick", {})


async def is_too_old(client):
    try:
        await called(client, "tick", {})
    except AioRpcError as refusal:
        expect(refusal.code(), StatusCode.UNAUTHENTICATED, "the refusal of a token of 60 s")
        if not re.search(r"the token is 6\d s old", refusal.details()):
            raise Failed(f"the refusal of a token of 60 s: {refusal.details()!r} does not say how old it is") from None
    else:
        raise Failed("a token of 60 s was taken")
    print("refused: a token of 60 s")


async def is_turned_away(address, model_id, key, what):
    client = runner(address, model_id, key)
    try:
        outcome = await client.init()
    except InvalidCoordinatorUsageError:
        # so the client calls any refusal of a set-up by a port that speaks TLS
        print(f"refused: {what}")
    else:
        raise Failed(f"{what}: the set-up ended with {outcome!r}")
    finally:
        await client.close()


@contextlib.contextmanager
def clock_behind(seconds):
    """The coordinator's clock is slow."""
    slow = types.SimpleNamespace(time=lambda: time.time() - seconds)
    with mock.patch.object(gateway_auth_interceptor, "time", slow):
        yield


@contextlib.asynccontextmanager
async def proxy(own, behind):
    """The address of a proxy with the certificate in the folder `own`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own / "tls.crt", own / "tls.key")
    context.set_alpn_protocols(["h2"])
    host, _, port = behind.rpartition(":")

    async def serve(reader, writer):
        to_reader, to_writer = await asyncio.open_connection(host, int(port))
        # connections that are still open when the check ends are of no interest
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(passed_on(reader, to_writer), passed_on(to_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def passed_on(reader, writer):
    """Everything from one side to the other, until either ends."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
    writer.close()
