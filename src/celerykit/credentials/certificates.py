"""A private authority for a stack, made once, and its servers' certificates: a renewal needs no change of clients.

``authority/authority.pem`` is the authority with its key, in a folder that neither servers nor workers see.
``authority/ca.pem`` holds the certificates that clients trust. ``celery/`` and each server's folder have a copy of it.
``server.pem`` holds a server's key and certificate in one file, so that a server always reads a matching pair.
With a ``ca.pem`` and no ``authority.pem``, the certificates are the operator's own.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from celerykit import secretfile
from celerykit.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AUTHORITY = "authority/authority.pem"
TRUSTED = "authority/ca.pem"
CLIENTS = "celery"
SERVER = "server.pem"
LOCAL = ("localhost", "127.0.0.1", "::1")
"""Further names of every server: health checks connect to it from inside its container."""
LIFETIME = timedelta(days=730)
AUTHORITY_LIFETIME = timedelta(days=3650)
DUE = timedelta(days=90)
"""A certificate that expires within this time is renewed automatically."""


def write(folder: Path, servers: Mapping[str, Sequence[str]], *steps: str) -> list[Path]:
    """Make the missing and the expiring certificates under ``folder``, and keep the others.

    :param servers: the servers, each with its further host names.
    :param steps: ``authority`` makes a new authority, and keeps the old one trusted; ``renew`` renews all certificates.
    :returns: the files that were written.
    :raises ConfigurationError: if a certificate is missing, and the authority is the operator's own.
    """
    authority, trusted = secretfile.read(folder / AUTHORITY), secretfile.read(folder / TRUSTED)
    if "authority" in steps or (not trusted and not authority):
        authority = _Authority.make().pem
    trusted = _trusted(authority, trusted)
    wanted = {TRUSTED: trusted, f"{CLIENTS}/ca.pem": trusted, **{f"{server}/ca.pem": trusted for server in servers}}
    # In this order: the authority, the files of clients, then certificates that the authority has signed.
    written = [folder / AUTHORITY] if authority and secretfile.write(folder / AUTHORITY, authority, 0o600) else []
    for server, names in servers.items():
        path = folder / server / SERVER
        kept = secretfile.read(path)
        if not kept and not authority:
            raise ConfigurationError(_missing(path, server))
        if authority and _is_due(kept, (server, *names, *LOCAL), trusted, anew="renew" in steps):
            kept = _Authority.read(authority).issue(server, names)
        wanted[f"{server}/{SERVER}"] = kept
    return written + [folder / name for name, text in wanted.items() if secretfile.write(folder / name, text)]


@dataclass(frozen=True)
class _Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls) -> _Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        # A unique name, because clients may trust two authorities at once.
        name = _named(f"celerykit authority {secrets.token_hex(4)}")
        builder = _builder(name, name, key, AUTHORITY_LIFETIME)
        for extension, critical in (
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (_usage(key_cert_sign=True, crl_sign=True), True),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def read(cls, text: str) -> _Authority:
        key = serialization.load_pem_private_key(text.encode(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101  # as make() has it
        return cls(key, x509.load_pem_x509_certificate(text.encode()))

    @property
    def pem(self) -> str:
        return _pem_of(self.key) + _pem(self.certificate)

    def issue(self, server: str, names: Sequence[str]) -> str:
        """Return a new key and its certificate, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(server), self.certificate.subject, key, LIFETIME)
        for extension, critical in (
            (x509.SubjectAlternativeName([_general(name) for name in dict.fromkeys((server, *names, *LOCAL))]), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        return _pem_of(key) + _pem(builder.sign(self.key, hashes.SHA256()))


def _trusted(authority: str, trusted: str) -> str:
    """Return the certificates that clients trust: the authority's first, then valid ones of its predecessors."""
    if not authority:
        return trusted
    first = _Authority.read(authority).certificate
    others = [item for item in _load(trusted) if item != first and item.not_valid_after_utc > _now()]
    return "".join(map(_pem, [first, *others]))


def _is_due(text: str, names: Sequence[str], trusted: str, *, anew: bool) -> bool:
    if not text:
        return True
    certificate = x509.load_pem_x509_certificate(text.encode())
    if not any(_has_issued(authority, certificate) for authority in _load(trusted)):
        return False  # the operator's own
    certified = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return anew or certificate.not_valid_after_utc - _now() < DUE or set(certified) != set(map(_general, names))


def _has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    begin = _now() - timedelta(hours=1)  # clocks differ
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + lifetime)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name[:64])])


def _load(text: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(text.encode()) if text.strip() else []


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    unlocked = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked).decode()


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _missing(path: Path, server: str) -> Finding:
    problem = f"there is no certificate, and none can be made: the authority's key is not in {AUTHORITY}"
    return Finding(
        SERVER, "", str(path), problem, f"Put key and certificate of {server} there, signed by your authority"
    )
