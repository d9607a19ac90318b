#!/usr/bin/env python3
"""Interoperation with the Python of the field: this program's client against nodes of `grpcio` and an orchestrator of
`websockets`.

A replay and a live predict worker follow the orchestrator, set up, tick and ask the nodes; what they store is compared
with what the nodes were sent and said.

    check_client_interop.py --condor target/debug/condor --ask-all target/debug/examples/ask_all

Exit status: 0 all agree, 1 something differs.
"""

import argparse
import asyncio
import collections
import contextlib
import csv
import datetime
import itertools
import json
import pathlib
import sys
import tempfile
import time

import grpc
import interop_credentials as credentials
import pandas
import random_prices
from grpc_health.v1.health_pb2 import HealthCheckResponse
from interop_nodes import PATIENCE, Aborted, Failed, Node, Said, Threaded, densities, normal, started, until
from interop_orchestrator import Orchestrator, entry
from model_runner_client.grpc.generated.commons_pb2 import Variant, VariantType

BASE_CLASS = "crunch_synth.tracker.TrackerBase"
START = datetime.datetime(2025, 5, 1, tzinfo=datetime.timezone.utc)
MINUTE = datetime.timedelta(minutes=1)
MIB = 1024 * 1024
# Seconds. A replay takes a quarter of a minute.
LONGEST_RUN = 3 * PATIENCE

# Both methods; in each minute of a replay one asset is asked, in every fifth also for several steps.
GAME = """
[[schedules]]
assets = ["BTC", "ETH"]
horizon = "1h"
steps = ["5m"]
every = "2m"

[[schedules]]
assets = ["BTC"]
horizon = "2h"
steps = ["5m", "1h"]
every = "5m"
method = "predict_all"
"""

# Each timeout leads to a health check.
IMPATIENT = """
[models]
call_timeout = "6s"
max_consecutive_timeouts = 2

[prices]
open_grace = "1s"
"""

# A slot in each second.
LIVE = """
[prices]
interval = "1s"
history = "5m"
open_grace = "1s"

[[prices.sources]]
kind = "files"
dir = "{prices}"

[orchestrator]
url = "ws://127.0.0.1:{port}"

[models]
call_timeout = "4s"
max_consecutive_failures = 2
max_consecutive_timeouts = 2

[[schedules]]
assets = ["BTC"]
horizon = "4s"
steps = ["2s"]
every = "1s"
"""


def expect(got, wanted, what):
    if got != wanted:
        raise Failed(f"{what}: got {shortened(got)} instead of {shortened(wanted)}")


def expect_in(part, text, what):
    if part not in (text or ""):
        raise Failed(f"{what}: {shortened(text)} does not say {part!r}")


def shortened(value):
    text = repr(value)
    return text if len(text) < 600 else f"{text[:600]}…"


# ---------------------------------------------------------------------------------------------------------------------
# Programs
# ---------------------------------------------------------------------------------------------------------------------


async def run(*command, log):
    """What a program prints; its log is shown when it fails or does not end."""
    with open(log, "ab") as errors:
        piped = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*map(str, command), stdout=piped, stderr=errors)
        with ending(process):
            try:
                printed, _ = await asyncio.wait_for(process.communicate(), LONGEST_RUN)
            except TimeoutError:
                raise Failed(f"{command[1]} runs for {LONGEST_RUN} s:\n{log.read_text()[-3000:]}") from None
    if process.returncode:
        raise Failed(f"{command[1]} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    return printed.decode()


@contextlib.contextmanager
def ending(process):
    """A program that is not left behind."""
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()


class Work:
    """A folder with settings, prices and a database."""

    def __init__(self, options, folder):
        self.options, self.folder = options, pathlib.Path(folder)
        self.log = self.folder / "log"
        self.log.touch()
        self.database = f"sqlite://{self.folder / 'rounds.db'}"

    def settings(self, text):
        path = self.folder / "condor.toml"
        path.write_text(text)
        return path

    def prices(self, hours):
        random_prices.main(self.folder, START.isoformat(), hours)

    def closes(self, asset, last):
        """The closes up to an instant as a tick has them."""
        with open(self.folder / f"{asset}-1m.csv") as file:
            rows = [[int(row["timestamp"]), float(row["price"])] for row in csv.DictReader(file)]
        return [row for row in rows if row[0] <= last.timestamp()]

    async def replay(self, orchestrator, settings, begin, minutes):
        """Asks the orchestrator's models for some minutes; the predictions of each by the order of asking."""
        until_time = begin + minutes * MINUTE
        command = [self.options.condor, "replay", "--orchestrator", f"ws://127.0.0.1:{orchestrator.port}/condor"]
        command += ["--config", self.settings(settings), "--prices", self.folder, "--database", self.database]
        command += ["--from", zulu(begin), "--to", zulu(until_time)]
        await run(*command, log=self.log)
        return await self.predictions()

    async def predictions(self):
        rounds = {row["round_id"]: row for row in await self.export("rounds")}
        rows = [{**row, "round": rounds[row["round_id"]]} for row in await self.export("predictions")]
        rows.sort(key=lambda row: (row["round"]["performed_at"], row["round"]["horizon"]))
        by_model = collections.defaultdict(list)
        for row in rows:
            by_model[row["model_id"]].append(row)
        return by_model

    async def export(self, what):
        command = [self.options.condor, "db", "export", what, "--json", "--database", self.database]
        return [json.loads(line) for line in (await run(*command, log=self.log)).splitlines()]


def zulu(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def work(options):
    with tempfile.TemporaryDirectory() as folder:
        yield Work(options, folder)


def statuses(rows):
    return [row["status"] for row in rows]


# ---------------------------------------------------------------------------------------------------------------------
# The game
# ---------------------------------------------------------------------------------------------------------------------


class Raises(Node):
    """Raises for one asset."""

    async def predict(self, asset, horizon, step):
        if asset == "ETH":
            raise Said("MODEL_FAILED", "ValueError: kein Preis für 'ETH'\n  at line 3")
        return densities(horizon, step)


class Constructor(Node):
    async def setup(self):
        raise Said("SETUP_FAILED", "ImportError: no module named torch")


class NoClass(Node):
    async def setup(self):
        raise Said("BAD_IMPLEMENTATION", "no subclass of TrackerBase in main.py")


class NoMethod(Node):
    async def predict_all(self, asset, horizon, steps):
        raise Said("BAD_IMPLEMENTATION", "no method predict_all")


class NotANumber(Node):
    """json.dumps writes NaN as a bare word."""

    async def predict(self, asset, horizon, step):
        return densities(horizon, step, float("nan"))

    async def predict_all(self, asset, horizon, steps):
        return {**await super().predict_all(asset, horizon, steps), "note": float("inf")}


class Objects(Node):
    """Finds one question wrong."""

    has_refused = False

    async def predict(self, asset, horizon, step):
        if not self.has_refused:
            self.has_refused = True
            raise Said("INVALID_ARGUMENT", "horizon is not what it was")
        return densities(horizon, step)


class Forgets(Node):
    """A process that is fresh at the fourth tick, and again at the question after it."""

    is_set_up = False

    async def setup(self):
        self.is_set_up = True
        self.history.clear()

    async def tick(self, prices):
        self.check_memory(4, "tick")

    async def predict(self, asset, horizon, step):
        self.check_memory(6, "predict")
        return densities(horizon, step)

    def check_memory(self, fresh_at, method):
        if sum(called == method for called, _ in self.calls) == fresh_at:
            self.is_set_up = False
        if not self.is_set_up:
            raise Said("FAILED_PRECONDITION", "call Setup first")


class Silent(Node):
    """Answers a tick with a status and no value at all, as nodes may."""

    async def tick(self, prices):
        self.take(prices)
        raise Said("SUCCESS", "")


class Moves(Node):
    """Replaces its server on the same port in the middle of a question: the old one says GOAWAY and lets it end."""

    stopping = None

    async def predict(self, asset, horizon, step):
        if self.stopping is None:
            old = self.server
            await self.start(self.port)
            self.stopping = asyncio.create_task(old.stop(PATIENCE))
            await asyncio.sleep(0.3)
        return densities(horizon, step)

    async def stop(self):
        await super().stop()
        await self.stopping


class Limited(Threaded):
    """Takes messages of 256 KiB."""

    options = (("grpc.max_receive_message_length", MIB // 4),)


class Aging(Node):
    """Lets each connection live for a moment."""

    options = (("grpc.max_connection_age_ms", 200), ("grpc.max_connection_age_grace_ms", 30_000))


class Strict(Node):
    """One stream at a time, pings of its own that want an answer, and no patience with ours."""

    options = (
        ("grpc.max_concurrent_streams", 1),
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_ping_strikes", 1),
    )


class Idle(Node):
    """Hangs up when nothing was asked for a moment."""

    options = (("grpc.max_connection_idle_ms", 300),)


class Pacer(Node):
    """Takes its time, so that the others are idle in between."""

    async def predict_all(self, asset, horizon, steps):
        await asyncio.sleep(0.8)
        return await super().predict_all(asset, horizon, steps)


async def check_game(options):
    """Set-ups, history, ticks, both methods; the faults that nodes tell of; servers that close connections."""
    good = [Node("good"), Threaded("threaded"), Limited("limited"), Silent("silent"), Moves("moves"), Aging("aging")]
    good += [Strict("strict"), Idle("idle"), Pacer("pacer")]
    raises, objects, forgets = Raises("raises"), Objects("objects"), Forgets("forgets")
    others = [raises, objects, forgets, NoMethod("no-method"), NotANumber("not-a-number")]
    others += [Constructor("constructor"), NoClass("no-class")]
    minutes, days = 20, 30
    # More prices than fit one message of 4 MiB.
    begin = START + datetime.timedelta(days=days) - minutes * MINUTE
    with work(options) as place:
        place.prices(days * 24)
        async with Orchestrator().listening() as orchestrator, started(*good, *others):
            orchestrator.put(*map(entry, [*good, *others]))
            made = await place.replay(orchestrator, GAME, begin, minutes)
            expect(orchestrator.paths, ["/condor"], "the paths that were connected to")
        closes = {asset: place.closes(asset, begin + (minutes - 1) * MINUTE) for asset in ("BTC", "ETH")}
        for node in good:
            plays_the_game(node, made[node.model_id], minutes)
            expect_history(node, closes)
    limited_to_halves(good[2], good[0])
    connects_anew({node.model_id: len(set(node.peers)) for node in good})
    failed_in_words(made, minutes)
    expect(statuses(made["objects"]), ["SUCCESS"] * (minutes * 6 // 5 - 1), "who finds a question wrong is left out")
    expect(statuses(made["forgets"]), ["SUCCESS"] * (minutes * 6 // 5), "who forgets is set up again, and asked")
    expect(forgets.setups, [BASE_CLASS] * 3, "the set-ups of who forgets")
    expect_history(forgets, closes)
    print(f"the game: {len(good) + len(others)} nodes, {sum(map(len, closes.values()))} prices each, as told")


def plays_the_game(node, rows, minutes):
    what = node.model_id
    failed = [row["reason"] for row in rows if row["status"] != "SUCCESS"]
    expect(failed, [], f"{what}: the reasons of what did not succeed")
    expect(len(rows), minutes * 6 // 5, f"{what}: the rounds")
    expect(node.setups, [BASE_CLASS], f"{what}: the set-ups")
    questions = [call for call in node.calls if call[0] != "tick"]
    for (method, arguments), row in zip(questions, rows, strict=True):
        expect((method, arguments), wanted_question(row["round"]), f"{what}: a question")
        # Words and numbers are kept, not their spelling: 300 and 300.0 are the same.
        expect(json.loads(row["answer"]), wanted_answer(row["round"]), f"{what}: an answer as it is kept")
    expect(len([call for call in node.calls if call[0] == "tick"]) >= minutes, True, f"{what}: a tick a minute")
    expect({tuple((at, kind) for at, kind, _ in call[1]) for call in node.calls if call[0] == "tick"},
           {((1, "JSON"),)}, f"{what}: the arguments of ticks")
    expect(node.most_in_flight, 1, f"{what}: calls at once")
    expect(node.times_left, {None}, f"{what}: the deadlines on the wire")


def wanted_question(asked):
    values = [(1, "STRING", asked["asset"]), (2, "INT", asked["horizon"])]
    if asked["method"] == "predict":
        return "predict", [*values, (3, "INT", asked["steps"][0])]
    return "predict_all", [*values, (3, "JSON", asked["steps"])]


def wanted_answer(asked):
    if asked["method"] == "predict":
        return densities(asked["horizon"], asked["steps"][0])
    return {str(step): densities(asked["horizon"], step) for step in asked["steps"]}


def expect_history(node, closes):
    """Every price exactly once and in order."""
    expect(sorted(node.history), sorted(closes), f"{node.model_id}: the assets of its prices")
    for asset, wanted in closes.items():
        got = node.history[asset]
        if got != wanted:
            same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(got, wanted)))
            counts = f"{len(got)} prices of {asset} in place of {len(wanted)}"
            raise Failed(f"{node.model_id}: {counts}, different after the first {same}")


def limited_to_halves(limited, unlimited):
    """75,000 prices at most go at once; a node with a low limit gets them in halves of halves."""
    expect(unlimited.ticks[0], 75_000, "the first part of a history")
    expect(set(limited.ticks[:8]), {9_375}, "the parts for a node that takes 256 KiB")


def connects_anew(connections):
    """As often as the nodes hang up, and only then."""
    once = [model for model in connections if model not in ("moves", "aging", "idle")]
    expect([connections[model] for model in once], [1] * len(once), "the connections of those who never hang up")
    expect(connections["moves"], 2, "the connections of a node whose server is replaced")
    for model in ("aging", "idle"):
        expect(connections[model] > 2, True, f"{connections[model]} connections of {model} are some")


def failed_in_words(made, minutes):
    for row in made["raises"]:
        is_raised = row["round"]["asset"] == "ETH"
        expect(row["status"], "FAILED" if is_raised else "SUCCESS", "the status of who raises for ETH")
        if is_raised:
            expect(row["reason"], "raised (MODEL_FAILED): ValueError: kein Preis für 'ETH'\n  at line 3", "its words")
    for row in made["not-a-number"]:
        is_one_step = row["round"]["method"] == "predict"
        words = "params.scale: must be finite, got NaN" if is_one_step else "NaN and Infinity are no numbers there"
        expect(row["status"], "FAILED", "the status of NaN")
        expect_in(words, row["reason"], "the reason of NaN")
    for row in made["no-method"]:
        is_missing = row["round"]["method"] == "predict_all"
        expect(row["reason"], "bad implementation: no method predict_all" if is_missing else None, "a missing method")
    everywhere = {
        "constructor": "set-up raised (SETUP_FAILED): ImportError: no module named torch",
        "no-class": "bad implementation: no subclass of TrackerBase in main.py",
    }
    for model, reason in everywhere.items():
        outcomes = [(row["status"], row["reason"]) for row in made[model]]
        expect(outcomes, [("FAILED", reason)] * (minutes * 6 // 5), f"the outcomes of {model}")


# ---------------------------------------------------------------------------------------------------------------------
# One call at a time
# ---------------------------------------------------------------------------------------------------------------------


class Slow(Node):
    """Answers its first question long after the deadline."""

    async def predict(self, asset, horizon, step):
        if self.asked() == 1:
            await asyncio.sleep(9)
        return densities(horizon, step)


class SlowThread(Slow, Threaded):
    """The same on the other server."""


class Busy(Node):
    """Is busy with somebody else for the first moments of each question."""

    refused = 0

    async def served(self, request, context):
        self.refused += 1
        if self.refused % 4:
            raise Aborted(grpc.StatusCode.RESOURCE_EXHAUSTED, "another call is in progress")
        return await super().served(request, context)


async def check_one_at_a_time(options):
    """A late answer holds its own model up and nobody else; busy nodes are asked again."""
    slow, busy = [Slow("slow"), SlowThread("slow-thread")], Busy("busy")
    begin, minutes = START + 120 * MINUTE, 8
    with work(options) as place:
        place.prices(3)
        async with Orchestrator().listening() as orchestrator, started(*slow, busy):
            orchestrator.put(*map(entry, [*slow, busy]))
            made = await place.replay(orchestrator, IMPATIENT + GAME, begin, minutes)
        closes = {asset: place.closes(asset, begin + (minutes - 1) * MINUTE) for asset in ("BTC", "ETH")}
    for node in slow:
        first, *_, last = made[node.model_id]
        expect(first["status"], "TIMEOUT", f"{node.model_id}: its first outcome")
        expect_in("no answer", first["reason"], f"{node.model_id}: the cause")
        expect(last["status"], "SUCCESS", f"{node.model_id}: its last outcome ({last['reason']})")
    expect(statuses(made["busy"]), ["SUCCESS"] * len(made["busy"]), "the outcomes of a node that is often busy")
    for node in [*slow, busy]:
        expect((node.most_in_flight, node.times_left), (1, {None}), f"{node.model_id}: calls at once, deadlines")
        expect(len(node.setups), 1, f"{node.model_id}: set-ups")
        # None has a health service, which counts as good health.
        expect(len(set(node.peers)), 1, f"{node.model_id}: connections")
        expect_history(node, closes)
    print(f"one call at a time: {len(slow)} slow nodes, one that was busy {busy.refused * 3 // 4} times")


# ---------------------------------------------------------------------------------------------------------------------
# Statuses and values
# ---------------------------------------------------------------------------------------------------------------------

# What a person reads must survive the trip: percent signs, other alphabets, lines.
DETAILS = "100 % дело\nline 2"

KINDS = collections.defaultdict(
    lambda: "broken",
    {
        "INVALID_ARGUMENT": "our fault",
        "FAILED_PRECONDITION": "not set up",
        "PERMISSION_DENIED": "refused credentials",
        "UNAUTHENTICATED": "refused credentials",
    },
)


class Aborts(Node):
    """Refuses its question with a status of gRPC."""

    def __init__(self, code):
        super().__init__(f"aborts-{code.name}")
        self.code = code

    async def predict(self, asset, horizon, step):
        raise Aborted(self.code, DETAILS)


class AbortsThread(Aborts, Threaded):
    """The same on the other server."""

    def __init__(self, code):
        super().__init__(code)
        self.model_id += "-thread"


class Crashes(Node):
    """Its host has a fault of its own."""

    async def predict(self, asset, horizon, step):
        raise ZeroDivisionError("in the host")


class Answers(Node):
    """Answers one value, whatever the question is."""

    def __init__(self, model_id, value, *options):
        super().__init__(model_id)
        self.value, self.options = value, options

    async def predict(self, asset, horizon, step):
        return self.value


class Packed(Answers):
    """Compresses its answers, which grpcio does whether or not the client takes that."""

    compression = grpc.Compression.Gzip


VALUES = {
    "none": (None, "NONE", None),
    "double": (0.25, "DOUBLE", 0.25),
    "int": (-(2**63), "INT", -(2**63)),
    "string": ("é\0\n", "STRING", "é\0\n"),
    "json": ([normal(1.5), {"ключ": float("inf")}], "JSON", json.dumps([normal(1.5), {"ключ": float("inf")}])),
}


def bad_answers(tls):
    """Nodes whose answer cannot be taken: what becomes of it, and a part of the words."""
    table = pandas.DataFrame({"price": [1.5]})
    text = "x" * (5 * MIB)
    sends_little = ("grpc.max_send_message_length", 1024)
    secured = Node("secured")
    secured.credentials = tls
    return {
        Answers("table", table): ("bad answer", "PARQUET"),
        Answers("no-text", Variant(type=VariantType.STRING, value=b"\xff")): ("bad answer", "UTF-8"),
        Answers("too-large", text): ("too large", "more than the 4194304 that are allowed"),
        Answers("too-large-for-itself", text[:5000], sends_little): ("too large", "larger than max"),
        Packed("packed", text[:5000]): ("bad answer", "the answer is compressed, which we did not offer"),
        Crashes("crashes"): ("broken", "ZeroDivisionError"),
        secured: ("unreachable", "speaks TLS and was called without"),
    }


async def check_values(options):
    """Each kind of value, each status of gRPC, on either server."""
    nodes = [Answers(name, value) for name, (value, _, _) in VALUES.items()]
    codes = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
    aborting = [kind(code) for code in codes for kind in (Aborts, AbortsThread)]
    bad = bad_answers(server_credentials())
    with work(options) as place:
        async with Orchestrator().listening() as orchestrator, started(*nodes, *aborting, *bad):
            orchestrator.put(*map(entry, [*nodes, *aborting, *bad]))
            address = f"ws://127.0.0.1:{orchestrator.port}/condor"
            printed = await run(options.ask_all, address, "--timeout", "8", "--json", log=place.log)
    told = {row["model_id"]: row for row in map(json.loads, printed.splitlines())}
    for name, (_, kind, value) in VALUES.items():
        got = tuple(told[name][key] for key in ("outcome", "answer_type", "answer"))
        expect(got, ("answered", kind, value), f"the answer of {name}")
    for node in aborting:
        row, is_busy = told[node.model_id], node.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        # Its last try may be under way when the time is up.
        kinds = ("busy", "timeout") if is_busy else (KINDS[node.code.name],)
        if row["outcome"] not in kinds:
            raise Failed(f"{node.model_id}: {row['outcome']} ({row['cause']!r}) is none of {kinds}")
        expect_in("predict" if is_busy else DETAILS, row["cause"], f"the cause of {node.model_id}")
    for node, (kind, words) in bad.items():
        row = told[node.model_id]
        expect(row["outcome"], kind, f"the outcome of {node.model_id} ({row['cause']})")
        expect_in(words, row["cause"], f"the cause of {node.model_id}")
    print(f"statuses and values: {len(told)} nodes, as told")


def server_credentials():
    authority = credentials.Authority()
    return authority.issue("model-node-secured.crunchdao.internal").server_credentials(authority)


# ---------------------------------------------------------------------------------------------------------------------
# Mutual TLS
# ---------------------------------------------------------------------------------------------------------------------

HOTKEY = "hotkey of the cruncher"
DAY = datetime.timedelta(days=1)


class Secured(Node):
    """Shows a certificate and a delegation of its wallet, both as they should be unless told otherwise."""

    def __init__(self, model_id, authority, wallet, owner=None, name=None, hotkey=HOTKEY, valid_for=DAY, issuer=None):
        super().__init__(model_id)
        # Who the orchestrator says it belongs to.
        self.owner = owner or wallet
        issued = (issuer or authority).issue(f"model-node-{name or model_id}.crunchdao.internal")
        self.credentials = issued.server_credentials(authority)
        expires_at = datetime.datetime.now(datetime.timezone.utc) + valid_for
        self.metadata = wallet.delegation(issued, name or model_id, hotkey, expires_at)

    def entry(self):
        return entry(self, infos={"cruncher_wallet_pubkey": self.owner.address, "cruncher_hotkey": HOTKEY})


class SecuredThread(Secured, Threaded):
    """The same on the other server."""


def secured_nodes(authority):
    """Nodes whose credentials hold, and those whose do not, with a part of the words."""
    wallet, other = credentials.Wallet(), credentials.Wallet()
    borrowed = Secured("borrowed", authority, wallet)
    borrowed.metadata = Secured("borrowed", authority, wallet).metadata
    bare = Secured("bare", authority, wallet)
    bare.metadata = ()
    good = [Secured("right", authority, wallet), SecuredThread("right-thread", authority, wallet)]
    bad = {
        Secured("wrong-wallet", authority, other, owner=wallet): f"it presents the wallet {other.address}, the model",
        Secured("other-hotkey", authority, wallet, hotkey="another"): "wallet delegation names the hotkey another",
        Secured("expired", authority, wallet, valid_for=-DAY): "wallet delegation expired at",
        Secured("stranger", authority, wallet, issuer=credentials.Authority()): "not issued by an authority",
        Secured("impostor", authority, wallet, name="right"): "its certificate is for another name",
        borrowed: "wallet delegation is for another certificate",
        bare: "carries no `x-server-auth-message`",
    }
    return good, bad


async def check_mutual_tls(options):
    """grpcio's TLS with our certificate demanded, delegations as metadata; who is refused is told why."""
    authority = credentials.Authority()
    good, bad = secured_nodes(authority)
    begin, minutes = START + 120 * MINUTE, 5
    with work(options) as place:
        place.prices(3)
        authority.issue("coordinator").write(place.folder, authority)
        settings = f'[orchestrator.security]\nkind = "mutual_tls"\ndirectory = "{place.folder}"\n{GAME}'
        async with Orchestrator().listening() as orchestrator, started(*good, *bad):
            orchestrator.put(*(node.entry() for node in [*good, *bad]))
            made = await place.replay(orchestrator, settings, begin, minutes)
    for node in good:
        plays_the_game(node, made[node.model_id], minutes)
    for node, words in bad.items():
        expect(set(statuses(made[node.model_id])), {"ABSENT"}, f"the outcomes of {node.model_id}")
        for row in made[node.model_id]:
            expect_in("refused credentials: ", row["reason"], f"the cause of {node.model_id}")
            expect_in(words, row["reason"], f"the cause of {node.model_id}")
    print(f"mutual TLS: {len(good)} nodes accepted, {len(bad)} refused in words")


# ---------------------------------------------------------------------------------------------------------------------
# The orchestrator
# ---------------------------------------------------------------------------------------------------------------------


class Held(Node):
    """Its constructor takes until it is let go."""

    def __init__(self, *identity):
        super().__init__(*identity)
        self.go = asyncio.Event()

    async def setup(self):
        await self.go.wait()


class Fails(Node):
    async def predict(self, asset, horizon, step):
        raise Said("MODEL_FAILED", "ValueError: never again")


class Hangs(Node):
    """Never answers a question, though it says that it is well."""

    health = HealthCheckResponse.SERVING

    async def predict(self, asset, horizon, step):
        await asyncio.sleep(PATIENCE)


class Ill(Hangs):
    """Never answers a question, and says that it is not well."""

    health = HealthCheckResponse.NOT_SERVING


def write_seconds(folder):
    """A close for every second from a while ago to after the end."""
    now = int(time.time())
    lines = (f"{at},{100_000 + at % 7}\n" for at in range(now - 30, now + 4 * PATIENCE))
    (folder / "BTC-1s.csv").write_text("timestamp,price\n" + "".join(lines))


async def check_orchestrator(options):
    """A live worker through all that an orchestrator says, and what it is told."""
    with work(options) as place:
        write_seconds(place.folder)
        async with Orchestrator().listening() as orchestrator:
            settings = place.settings(LIVE.format(prices=place.folder, port=orchestrator.port))
            live = Live(place, orchestrator, settings)
            async with live.nodes():
                await live.run()
            live.check_outcomes(await place.predictions())
    print(f"orchestrator: {len(orchestrator.paths)} connections, {len(orchestrator.reports)} reports")


class Live:
    """A predict worker, an orchestrator, and what happens between them."""

    def __init__(self, place, orchestrator, settings):
        self.place, self.orchestrator, self.settings = place, orchestrator, settings
        self.steady, self.leaves = Node("steady"), Node("leaves")
        self.moves = [Node("moves", "d1"), Held("moves", "d2"), Node("moves", "d2")]
        self.hangs, self.ill = Hangs("hangs"), Ill("ill")
        # Each is reported: as what, and a part of the reason.
        self.reported = {
            Fails("fails"): ("MULTIPLE_FAILED", "predict failed 3 times in a row, at last: ValueError: never again"),
            Constructor("constructor"): ("MULTIPLE_FAILED", "set-up failed: ImportError: no module named torch"),
            NoClass("no-class"): ("BAD_IMPLEMENTATION", "no subclass of TrackerBase in main.py"),
            self.hangs: ("MULTIPLE_TIMEOUT", "predict timed out 3 times in a row"),
        }

    def nodes(self):
        return started(self.steady, self.leaves, self.ill, *self.moves, *self.reported)

    async def run(self):
        self.announce_first()
        command = [self.place.options.condor, "predict", "--config", self.settings, "--database", self.place.database]
        with open(self.place.log, "ab") as log:
            worker = await asyncio.create_subprocess_exec(*map(str, command), stderr=log)
        with ending(worker):
            try:
                await self.happen()
            except Failed as failure:
                raise Failed(f"{failure}\n{self.place.log.read_text()[-3000:]}") from None
            worker.terminate()
            expect(await asyncio.wait_for(worker.wait(), PATIENCE), 0, "the exit status of the predict worker")

    def announce_first(self):
        """An init of over 1 MiB; and one model with everything that an entry may be."""
        old = [Node(f"old-{number}") for number in range(8000)]
        infos = {"model_name": "light", "cruncher_name": None, "cruncher_id": "AHgm2bE4", "cruncher_rank": 3}
        self.orchestrator.put(*(entry(node, "STOPPED", infos) for node in old))
        size = len(json.dumps(list(self.orchestrator.entries.values())))
        expect(size > MIB, True, f"an init of {size} bytes is over 1 MiB")
        odd = entry(self.steady, infos=infos, zone="eu")
        self.orchestrator.put({**odd, "port": str(self.steady.port)})
        self.orchestrator.put(*map(entry, [self.leaves, self.moves[0], self.ill, *self.reported]))

    async def happen(self):
        await self.steady.until_asked_again()
        await self.orchestrator.until_ponged()
        await self.deployments_change()
        await self.odd_things_are_said()
        await self.the_connection_is_cut()
        await self.ill.until(lambda node: len(set(node.peers)) > 1, "it is not well, and so connected to anew")
        await self.orchestrator.announce(entry(self.ill, "STOPPED"))
        reports = self.orchestrator.reports
        await until(lambda: len(reports) >= len(self.reported), "all that fail are reported")
        await self.steady.until_asked_again()

    async def deployments_change(self):
        """The new one is connected before the old one is dropped; a late stop of the old one means nothing."""
        first, second, recovered = self.moves
        await first.until_asked_again()
        await self.orchestrator.announce(entry(second))
        await second.until(lambda node: node.setups, "its set-up begins")
        await first.until_asked_again()
        expect(second.asked(), 0, "questions to a deployment that is not set up")
        second.go.set()
        await second.until_asked_again()
        await self.orchestrator.announce(entry(first, "STOPPED"))
        await second.until_asked_again()
        await self.is_not_asked(first, "a deployment that was replaced")
        await self.orchestrator.announce(entry(second, "RECOVERING"))
        await self.is_not_asked(second, "a deployment that is recovering")
        await second.stop()
        # The same deployment in a fresh process: everything from the beginning.
        await self.orchestrator.announce(entry(recovered))
        await recovered.until_asked_again()
        expect(recovered.setups, [BASE_CLASS], "the set-ups of a recovered deployment")
        expect(recovered.calls[0][0], "tick", "its first call")
        begins = recovered.history["BTC"][0][0]
        expect(begins <= self.steady.history["BTC"][0][0], True, "its history begins where that of the others does")

    async def odd_things_are_said(self):
        for message in ([], {"event": "update"}, {"event": "party", "data": []}, {"event": "update", "data": 5}):
            await self.orchestrator.send(json.dumps(message))
        await self.orchestrator.send("no JSON")
        await self.orchestrator.send(b"\0binary")
        await self.orchestrator.announce({**entry(self.steady), "deployment_id": "d9", "state": "DANCING"})
        del self.orchestrator.entries["steady", "d9"]
        await self.steady.until_asked_again()
        expect(len(self.orchestrator.paths), 1, "connections so far")

    async def the_connection_is_cut(self):
        """After it, init is the complete list; who stays is not set up again."""
        await self.leaves.until_asked_again()
        del self.orchestrator.entries["leaves", "d1"]
        await self.orchestrator.cut()
        await self.orchestrator.until_ponged()
        await self.is_not_asked(self.leaves, "a model that is not in the list any more")
        expect(self.steady.setups, [BASE_CLASS], "the set-ups of a model that stays")

    async def is_not_asked(self, node, what):
        """From the next round but one on; what is under way may be seen through."""
        await self.steady.until_asked_again()
        await self.steady.until_asked_again()
        asked = node.asked()
        await self.steady.until_asked_again()
        await self.steady.until_asked_again()
        expect(node.asked(), asked, f"questions to {what}")

    def check_outcomes(self, made):
        by_model = {report["model_id"]: report for report in self.orchestrator.reports}
        expect(sorted(by_model), sorted(node.model_id for node in self.reported), "who is reported")
        for node, (code, words) in self.reported.items():
            report = by_model[node.model_id]
            expect((report["failure_code"], report["ip"]), (code, "127.0.0.1"), f"the report about {node.model_id}")
            expect_in(words, report["failure_reason"], f"the report about {node.model_id}")
            self.is_told_to_be(made[node.model_id], "ABSENT", f"reported as {code}")
        self.is_told_to_be(made["moves"], "ABSENT", "recovering")
        self.is_told_to_be(made["leaves"], "ABSENT", "no longer in the orchestrator's list")
        expect(self.hangs.most_in_flight, 1, "calls at once to a node that hangs")
        expect(len(set(self.hangs.peers)), 1, "connections to a node that hangs and is well")

    def is_told_to_be(self, rows, status, words):
        told = {(row["status"], row["reason"]) for row in rows}
        if not any(kind == status and words in (reason or "") for kind, reason in told):
            raise Failed(f"no outcome is {status} because of {words!r}: {shortened(told)}")


# ---------------------------------------------------------------------------------------------------------------------


CHECKS = {
    "game": check_game,
    "one-at-a-time": check_one_at_a_time,
    "values": check_values,
    "mutual-tls": check_mutual_tls,
    "orchestrator": check_orchestrator,
}


async def check_all():
    """All at once, since most of the time goes by in waiting; each in a process of its own, so that none is held up."""
    children = [await asyncio.create_subprocess_exec(sys.executable, *sys.argv, "--only", name) for name in CHECKS]
    return max(await asyncio.gather(*(child.wait() for child in children)))


def check(options):
    try:
        asyncio.run(CHECKS[options.only](options))
    except Failed as failure:
        print(f"failed: {options.only}: {failure}", file=sys.stderr)
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--condor", required=True, help="the program")
    parser.add_argument("--ask-all", required=True, help="the example of the crate model-client")
    parser.add_argument("--only", choices=CHECKS, help="one check alone")
    options = parser.parse_args()
    return check(options) if options.only else asyncio.run(check_all())


if __name__ == "__main__":
    sys.exit(main())
