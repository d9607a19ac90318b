"""Certificates and wallet delegations for the check of interoperation, made anew at each run."""

import base64
import datetime
import json

import base58
import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """Issues RSA certificates."""

    def __init__(self):
        self.key = rsa_key()
        self.name = named("interop authority")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self.sign(self.name, self.key, constraints)

    def pem(self):
        return pem(self.certificate)

    def issue(self, host):
        """A certificate for a host name, with its key."""
        key = rsa_key()
        return Issued(self.sign(named(host), key, x509.SubjectAlternativeName([x509.DNSName(host)])), key)

    def sign(self, subject, key, extension):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        return builder.not_valid_before(now - DAY).not_valid_after(now + 30 * DAY).sign(self.key, hashes.SHA256())


class Issued:
    """A certificate and its key."""

    def __init__(self, certificate, key):
        self.certificate, self.key = pem(certificate), key_pem(key)
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        self.public_key = key.public_key().public_bytes(serialization.Encoding.DER, info)

    def server_credentials(self, authority):
        """For a node that takes only those whom the authority knows."""
        pairs = [(self.key, self.certificate)]
        return grpc.ssl_server_credentials(pairs, root_certificates=authority.pem(), require_client_auth=True)

    def write(self, folder, authority):
        """As a coordinator reads it."""
        for name, text in (("ca.crt", authority.pem()), ("tls.crt", self.certificate), ("tls.key", self.key)):
            (folder / name).write_bytes(text)


class Wallet:
    """A cruncher's wallet."""

    def __init__(self):
        self.key = ed25519.Ed25519PrivateKey.generate()
        encoding, form = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        self.address = base58.b58encode(self.key.public_key().public_bytes(encoding, form)).decode()

    def delegation(self, issued, model_id, hotkey, expires_at):
        """The metadata by which the wallet vouches for a node's certificate."""
        said = {"cert_pub": base64.b64encode(issued.public_key).decode(), "model_id": model_id}
        message = json.dumps({**said, "hotkey": hotkey, "expires_at": int(expires_at.timestamp())}).encode()
        return (
            ("x-server-auth-message", base64.b64encode(message).decode()),
            ("x-server-auth-signature", base64.b64encode(self.key.sign(message)).decode()),
            ("x-server-wallet-pubkey", self.address),
        )


def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key):
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())
