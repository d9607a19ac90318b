"""The program under test: its model host and its orchestrator."""

import asyncio
import contextlib
import json
import pathlib
import subprocess
import tempfile
import urllib.error
import urllib.request

from interop.client import BASE_CLASS
from interop.expecting import PATIENCE, Failed

STOPS_WITHIN = 30


@contextlib.contextmanager
def submission(main, requirements=""):
    """A folder with these files."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_submission(folder, main, requirements)
        yield folder


def write_submission(folder, main, requirements=""):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(main)
    (folder / "requirements.txt").write_text(requirements)


@contextlib.contextmanager
def running(*command):
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Failed(f"{command[1]} does not stop within {STOPS_WITHIN} s") from None


async def announced(process, before):
    """What the program's next line says after these words."""
    line = await asyncio.to_thread(process.stdout.readline)
    if not line.startswith(before):
        raise Failed(f"{process.args[1]} says {line!r} instead of {before!r} and an address")
    return line.removeprefix(before).strip()


@contextlib.asynccontextmanager
async def model_host(options, folder, *flags):
    """The address of a host of the submission in `folder`."""
    command = [options.condor, "model-host", "--submission", folder, "--environments", options.environments]
    with running(*command, "--base-class", BASE_CLASS, *flags) as process:
        yield await announced(process, "listening on ")


class Orchestrator:
    """A running orchestrator with an empty list of models."""

    def __init__(self, condor, folder):
        self.condor = condor
        self.list = folder / "models.yml"
        self.submissions = folder / "submissions"
        self.port = None
        self.url = None

    def write_models(self, entries):
        """Makes these the list of models, as an operator does."""
        # JSON is YAML; a rename, so that nobody reads a half
        draft = self.list.with_suffix(".new")
        draft.write_text(json.dumps({"models": entries}))
        draft.rename(self.list)

    async def models(self, *arguments):
        """What `condor models …` prints."""
        key = self.list.with_name("deploy-key")
        command = [self.condor, "models", "--url", self.url, "--key-file", key, *arguments]
        done = await asyncio.to_thread(
            subprocess.run, [str(part) for part in command], capture_output=True, text=True, timeout=PATIENCE
        )
        if done.returncode != 0:
            raise Failed(f"condor models {arguments}: exit status {done.returncode}, {done.stderr!r}")
        return done.stdout

    async def status(self, model_id):
        """A model's object in `GET /models`."""
        models = await asyncio.to_thread(self._request, "GET", "/models")
        return next(model for model in json.loads(models[1]) if model["id"] == model_id)

    async def becomes(self, model_id, status):
        """Waits for a status; the model's object."""
        for _ in range(PATIENCE * 10):
            model = await self.status(model_id)
            if model["status"] == status:
                return model
            await asyncio.sleep(0.1)
        raise Failed(f"model {model_id} is {model['status']} ({model['statusMessage']!r}) and not {status}")

    async def upload(self, model_id, main, key=None):
        """Changes a model's code; the HTTP status."""
        files = {"main.py": main, "requirements.txt": ""}
        boundary = "boundary"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n{text}\r\n'
            for name, text in files.items()
        ]
        body = "".join([*parts, f"--{boundary}--\r\n"]).encode()
        key = key or self.list.with_name("deploy-key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": f"multipart/form-data; boundary={boundary}"}
        status, _ = await asyncio.to_thread(self._request, "PATCH", f"/models/{model_id}", body, headers)
        return status

    def _request(self, method, path, body=None, headers={}):
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        # nobody in between, whatever the environment says
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read()


@contextlib.asynccontextmanager
async def orchestrator(options):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        condor = Orchestrator(options.condor, folder)
        condor.write_models([])
        # not with users of their own: orchestrators with homes in different folders would share those
        places = ["--models", condor.list, "--submissions", condor.submissions, "--submission-users", "off"]
        ports = ["--listen", "127.0.0.1:0", "--deploy-listen", "127.0.0.1:0"]
        with running(options.condor, "orchestrator", *places, *ports) as process:
            socket = await announced(process, "listening on ws://")
            condor.url = await announced(process, "deploy API on ")
            condor.port = int(socket.partition("/")[0].rpartition(":")[2])
            yield condor
