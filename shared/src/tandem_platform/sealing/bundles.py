"""A practice's public keys: what they are, how they are written down, signed and used."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from tandem.directory.v1.directory_pb2 import SignedKeyBundle
from tandem_platform.errors import Code, Refusal
from tandem_platform.sealing.encoding import NotCanonical, Value, at_moment, decode, encode, moment

_MLKEM_LENGTH = 1184
_X25519_LENGTH = 32
SIGNATURE_LENGTH = 64
_LONGEST_CHAIN = 4
_KIND = "tandem.key-bundle.1"
# Purposes of signatures, see `signing_input`.
BY_CERTIFICATE = "key-bundle-by-certificate"
BY_FORMER_KEY = "key-bundle-by-former-key"


class BundleForged(Refusal):
    """The bundle is not what the practice's certificate signed."""

    def __init__(self, message: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "BUNDLE_FORGED",
            message,
            field="key_bundle",
            way_out="fetch the bundle again; if it stays so, call the practice and the network operator",
        )


class BundleExpired(Refusal):
    def __init__(self, practice_id: str, expired_at: datetime) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "BUNDLE_EXPIRED",
            f"the key bundle of {practice_id} expired at {expired_at.isoformat()}",
            field="key_bundle",
            way_out="the practice rotates its keys",
        )


class SignatureFault(StrEnum):
    """Why a signature does not count."""

    KEY_UNKNOWN = "KEY_UNKNOWN"
    KEY_EXPIRED = "KEY_EXPIRED"
    KEY_COMPROMISED = "KEY_COMPROMISED"
    INVALID = "INVALID"


@dataclass(frozen=True)
class SigningKey:
    """A version's public signing key, kept for ever: what it signed must stay verifiable."""

    version: int
    public: bytes
    expires_at: datetime
    # The hash of the bundle that introduced it; empty for the version that holds this record itself.
    bundle_hash: bytes
    # Nothing dated at or after this moment counts as signed.
    compromised_from: datetime | None = None


@dataclass(frozen=True)
class KeyBundle:
    """One version of a practice's public keys, with the signing keys of every version before it.

    Carrying the former keys makes the newest bundle sufficient to verify whatever the practice ever signed.
    A compromise is dated here, in a later version, signed with the certificate.
    """

    practice_id: str
    version: int
    # ML-KEM-768 and X25519, one after the other.
    hpke_public: bytes
    signing_public: bytes
    not_before: datetime
    expires_at: datetime
    former: tuple[SigningKey, ...] = ()

    @property
    def previous_hash(self) -> bytes:
        """The hash of the bundle before; empty in the first."""
        return self.former[-1].bundle_hash if self.former else b""

    @cached_property
    def encoded(self) -> bytes:
        return encode(
            _KIND,
            self.practice_id,
            self.version,
            self.hpke_public,
            self.signing_public,
            moment(self.not_before),
            moment(self.expires_at),
            [
                [
                    key.version,
                    key.public,
                    moment(key.expires_at),
                    key.bundle_hash,
                    None if key.compromised_from is None else moment(key.compromised_from),
                ]
                for key in self.former
            ],
        )

    @classmethod
    def decoded(cls, encoded: bytes) -> Self:
        """The bundle that `encoded` came from; BundleForged if it came from none."""
        try:
            bundle = cls._from_values(decode(encoded))
        except NotCanonical as fault:
            raise BundleForged("the key bundle is malformed") from fault
        if bundle.encoded != encoded:
            raise BundleForged("the key bundle is written in another way than its own")
        return bundle

    @classmethod
    def _from_values(cls, values: list[Value]) -> Self:
        match values:
            case [
                str(kind),
                str(practice_id),
                int(version),
                bytes(hpke_public),
                bytes(signing_public),
                int(not_before),
                int(expires_at),
                list(former),
            ] if (
                kind == _KIND
                and version >= 1
                and len(hpke_public) == _MLKEM_LENGTH + _X25519_LENGTH
                and len(signing_public) == 32
                and not_before < expires_at
            ):
                bundle = cls(
                    practice_id,
                    int(version),
                    hpke_public,
                    signing_public,
                    at_moment(not_before),
                    at_moment(expires_at),
                    tuple(_former_key(key) for key in former),
                )
                if len(former) == version - 1 and all(
                    key.version == number for number, key in enumerate(bundle.former, start=1)
                ):
                    return bundle
        raise NotCanonical("not a key bundle")

    @cached_property
    def hash(self) -> bytes:
        return hashlib.sha256(self.encoded).digest()

    @property
    def hpke_key(self) -> MLKEM768X25519PublicKey:
        """Parsed once per key, not per use: parsing costs a third of a wrap."""
        return _hpke_key(self.hpke_public)

    @cached_property
    def signing_key_now(self) -> SigningKey:
        return SigningKey(self.version, self.signing_public, self.expires_at, b"")

    def signing_key(self, version: int) -> SigningKey | None:
        if version == self.version:
            return self.signing_key_now
        return self.former[version - 1] if 1 <= version < self.version else None

    def signature_fault(
        self,
        purpose: str,
        message: bytes,
        signature: bytes,
        *,
        version: int | None,
        at: datetime,
        seen_at: datetime | None = None,
    ) -> SignatureFault | None:
        """Why *signature* is not this practice's over *message* at that time; None if it is. About 0.1 ms.

        version: None where the message does not say which key signed: then all are tried, newest first.
        at: when it was signed, as the signed thing says, or else by the best knowledge of the caller.
        seen_at: when it first arrived, if known. A compromised key counts from the later of both.
        """
        versions = range(self.version, 0, -1) if version is None else (version,)
        fault: SignatureFault | None = SignatureFault.KEY_UNKNOWN
        for candidate in versions:
            key = self.signing_key(candidate)
            if key is None:
                return SignatureFault.KEY_UNKNOWN
            fault = _signature_fault(key, signing_input(purpose, message), signature, at, seen_at or at)
            if fault is not SignatureFault.INVALID:
                break
        return fault


def signing_input(purpose: str, message: bytes) -> bytes:
    """What is really signed: a signature made for one purpose does not pass for another."""
    return b"tandem/" + purpose.encode() + b"\0" + message


def _signature_fault(
    key: SigningKey, message: bytes, signature: bytes, at: datetime, seen_at: datetime
) -> SignatureFault | None:
    try:
        ed25519_key(key.public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return SignatureFault.INVALID
    if key.compromised_from is not None and max(at, seen_at) >= key.compromised_from:
        return SignatureFault.KEY_COMPROMISED
    if at >= key.expires_at:
        return SignatureFault.KEY_EXPIRED
    return None


def _former_key(values: Value) -> SigningKey:
    match values:
        case [
            int(version),
            bytes(public),
            int(expires_at),
            bytes(bundle_hash),
            None | int() as compromised_from,
        ] if len(public) == 32 and len(bundle_hash) == 32:
            return SigningKey(
                int(version),
                public,
                at_moment(expires_at),
                bundle_hash,
                None if compromised_from is None else at_moment(compromised_from),
            )
    raise NotCanonical("not a former key")


@lru_cache(maxsize=4096)
def _hpke_key(public: bytes) -> MLKEM768X25519PublicKey:
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_LENGTH]),
        X25519PublicKey.from_public_bytes(public[_MLKEM_LENGTH:]),
    )


@lru_cache(maxsize=4096)
def ed25519_key(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


@dataclass(frozen=True)
class PracticeCertificate:
    """The certificate with which a practice also speaks TLS, and its private key (ECDSA P-256)."""

    # Leaf first, without the authority itself.
    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey

    @property
    def encoded(self) -> tuple[bytes, ...]:
        """The chain in DER."""
        return tuple(each.public_bytes(Encoding.DER) for each in self.chain)

    def sign(self, bundle: KeyBundle) -> bytes:
        return self.key.sign(signing_input(BY_CERTIFICATE, bundle.encoded), ec.ECDSA(hashes.SHA256()))

    def __repr__(self) -> str:
        return f"PracticeCertificate({self.chain[0].subject.rfc4514_string()!r})"


@dataclass(frozen=True)
class SignedBundle:
    """A bundle on its way: with its proof by certificate and by the keys before it."""

    bundle: KeyBundle
    # DER, leaf first, without the authority itself.
    certificates: tuple[bytes, ...]
    certificate_signature: bytes
    # One for each former version, oldest first; zeros where the practice no longer holds the key.
    # A peer that missed some rotations checks the one by the key that it pinned.
    former_signatures: tuple[bytes, ...]

    @classmethod
    def made(
        cls, bundle: KeyBundle, certificate: PracticeCertificate, former_signatures: Iterable[bytes]
    ) -> Self:
        return cls(
            bundle,
            certificate.encoded,
            certificate.sign(bundle),
            tuple(former_signatures),
        )

    def to_message(self) -> SignedKeyBundle:
        return SignedKeyBundle(
            practice_id=self.bundle.practice_id,
            version=self.bundle.version,
            bundle=self.bundle.encoded,
            certificate_signature=self.certificate_signature,
            certificate_chain=self.certificates,
            predecessor_signature=b"".join(self.former_signatures),
        )

    @classmethod
    def from_message(cls, message: SignedKeyBundle) -> Self:
        """BundleForged if it is malformed; no proof is verified yet.

        The message's own compromised_from is not proven by anything and not read: see `KeyBundle.former`.
        """
        bundle = KeyBundle.decoded(message.bundle)
        joined = message.predecessor_signature
        if (
            (bundle.practice_id, bundle.version) != (message.practice_id, message.version)
            or len(joined) != len(bundle.former) * SIGNATURE_LENGTH
            or len(message.certificate_chain) > _LONGEST_CHAIN
        ):
            raise BundleForged("the signed key bundle contradicts itself")
        return cls(
            bundle,
            tuple(message.certificate_chain),
            message.certificate_signature,
            tuple(
                joined[start : start + SIGNATURE_LENGTH] for start in range(0, len(joined), SIGNATURE_LENGTH)
            ),
        )
