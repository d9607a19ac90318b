"""Certificates, delegations and keys, made as docs/security.md tells: with `crunch-certificate` and openssl."""

import contextlib
import io
import pathlib
import shutil
import subprocess
import warnings

from crunch_certificate.cli import cli
from solders.keypair import Keypair

from interop.expecting import Failed

SECURITY = pathlib.Path(__file__).resolve().parents[2] / "docs" / "security.md"


def node_name(model_id):
    return f"model-node-{model_id}.crunchdao.internal"


class Authority:
    """Who issues certificates, with its files in a folder."""

    def __init__(self, folder):
        folder.mkdir()
        self.key, self.certificate = folder / "ca.key", folder / "ca.crt"
        names = ["--common-name", "authority", "--organization-name", "interoperation"]
        crunch_certificate("ca", "generate", *names, "--key-path", self.key, "--cert-path", self.certificate)

    def coordinator(self, folder):
        """A coordinator's directory: `ca.crt`, `tls.crt`, `tls.key`."""
        self._issue(folder, "coordinator", "--target", "coordinator")
        shutil.copy(self.certificate, folder)
        return folder

    def server(self, folder, host_name):
        """`tls.crt` and `tls.key` for a host name."""
        self._issue(folder, host_name, "--target", "cruncher", "--san-dns", host_name)
        return folder

    def _issue(self, folder, name, *target):
        folder.mkdir()
        authority = ["--ca-key-path", self.key, "--ca-cert-path", self.certificate]
        paths = ["--key-path", folder / "tls.key", "--cert-path", folder / "tls.crt"]
        crunch_certificate("tls", "generate", *authority, *paths, "--common-name", name, *target)


class Wallet:
    """A cruncher's, as the file that Solana's tools keep."""

    def __init__(self, path):
        pair = Keypair()
        path.write_text(pair.to_json())
        self.path, self.name = path, str(pair.pubkey())

    def delegate(self, folder, model_id, hotkey):
        """Vouches for the certificate of a node: writes `delegation.json`."""
        says = ["--model-id", model_id, "--hot-key", hotkey, "--wallet-path", self.path]
        crunch_certificate("sign", "--tls-cert-path", folder / "tls.crt", *says, "--output", folder / "delegation.json")


def crunch_certificate(*arguments):
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # its own, of an option that it declares twice
        warnings.simplefilter("ignore")
        cli([str(argument) for argument in arguments], standalone_mode=False)


def documented(begins, folder):
    """What the command of docs/security.md that begins like this prints in `folder`."""
    lines = (line.strip() for line in SECURITY.read_text().splitlines())
    command = next((line for line in lines if line.startswith(begins)), None)
    if command is None:
        raise Failed(f"docs/security.md has no command that begins with {begins!r}")
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout
