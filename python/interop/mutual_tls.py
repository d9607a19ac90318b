"""Mutual TLS with wallet delegation: the client against a submission behind our model host."""

import contextlib
import logging
import pathlib
import tempfile

from model_runner_client.model_runners.model_runner import ModelRunner
from model_runner_client.security.credentials import SecureCredentials

from interop.client import plays, runner_at, set_up
from interop.credentials import Authority, Wallet, documented, node_name
from interop.expecting import expect, expect_within
from interop.programs import model_host
from interop.submissions import EXAMPLES

MODEL, OTHER_MODEL = "7", "8"
HOTKEY = "hot"
REFUSED = (False, ModelRunner.ErrorType.AUTH_ERROR)


class World:
    """Two coordinators, of which the node knows the first, and a node."""

    def __init__(self, folder):
        authority = Authority(folder / "authority")
        self.ours = authority.coordinator(folder / "ours")
        self.strangers = authority.coordinator(folder / "strangers")
        self.node = authority.server(folder / "node", node_name(MODEL))
        self.owner, self.other = Wallet(folder / "owner.json"), Wallet(folder / "other.json")
        (self.node / "coordinator-keys").write_text(documented("openssl x509 -in tls.crt", self.ours))
        self.owner.delegate(self.node, MODEL, HOTKEY)

    def runner(self, address, coordinator=None, model_id=MODEL, wallet=None, hotkey=HOTKEY):
        """A client that expects what the orchestrator would have announced of the model."""
        infos = {"cruncher_wallet_pubkey": (wallet or self.owner).name, "cruncher_hotkey": hotkey}
        credentials = SecureCredentials.from_directory(coordinator or self.ours)
        return runner_at(address, model_id=model_id, infos=infos, secure_credentials=credentials)


async def check(options):
    """The right credentials are taken on both sides, and each wrong one is refused for what is wrong with it."""
    with tempfile.TemporaryDirectory() as name:
        world = World(pathlib.Path(name))
        async with model_host(options, EXAMPLES / "plain", "--tls-dir", world.node) as address:
            async with set_up(world.runner(address)) as runner:
                await plays(runner)
            print("client and node know each other, and the model plays")
            await check_refusals(world, address)
        world.owner.delegate(world.node, OTHER_MODEL, HOTKEY)
        async with model_host(options, EXAMPLES / "plain", "--tls-dir", world.node) as address:
            why = "The model_id in the payload does not match"
            await is_refused(world.runner(address), why, "a delegation for another model")


async def check_refusals(world, address):
    wallet = world.runner(address, wallet=world.other)
    await is_refused(wallet, "wallet public key does not match", "the node of another wallet")
    await is_refused(world.runner(address, hotkey="cold"), "Hotkey in the payload", "the node of another hotkey")
    # the name in the certificate is the model's
    other = world.runner(address, model_id=OTHER_MODEL)
    await is_refused(other, "Hostname mismatch", "the certificate of another model")
    stranger = world.runner(address, coordinator=world.strangers)
    await is_refused(stranger, "alert access denied", "our node with a coordinator whose key it does not know")


async def is_refused(runner, why, what):
    """The client refuses the node, or the node refuses the client."""
    with told() as lines:
        try:
            expect(await runner.init(), REFUSED, f"the connection to {what}")
        finally:
            await runner.close()
    expect_within("\n".join(lines), why, f"why there is no connection to {what}")
    print(f"refused: {what}")


@contextlib.contextmanager
def told():
    """The lines that the client logs meanwhile."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("model_runner_client")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
