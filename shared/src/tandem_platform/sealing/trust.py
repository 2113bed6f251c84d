"""How a practice comes to trust another's keys without trusting the hub that serves them."""

import hashlib
import re
from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from tandem_platform.errors import Code, Refusal
from tandem_platform.sealing.bundles import (
    BY_CERTIFICATE,
    BY_FORMER_KEY,
    BundleExpired,
    BundleForged,
    KeyBundle,
    SignedBundle,
    SigningKey,
    ed25519_key,
    signing_input,
)
from tandem_platform.sealing.keys import HPKE
from tandem_platform.unreadable import UNREADABLE

# A bundle is fetched moments after it was made; a clock slightly behind must not refuse it.
_CLOCK_TOLERANCE = timedelta(minutes=5)


class BundleNotYetValid(Refusal):
    def __init__(self, practice_id: str, valid_from: datetime) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "BUNDLE_NOT_YET_VALID",
            f"the key bundle of {practice_id} is valid from {valid_from.isoformat()}",
            field="key_bundle",
            way_out="compare the clocks of both practices",
        )


class BundleRolledBack(Refusal):
    """A bundle was served that is older than one already seen."""

    def __init__(self, practice_id: str, served: int, pinned: int) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "BUNDLE_ROLLED_BACK",
            f"version {served} was served for {practice_id}, whose version {pinned} is known",
            field="key_bundle",
            way_out="call the practice; if it lost its keys, confirm the new fingerprint with it",
        )


class BundleForked(Refusal):
    """Two different bundles carry the same version: somebody is shown another truth."""

    def __init__(self, practice_id: str, version: int) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "BUNDLE_FORKED",
            f"another bundle is known as version {version} of {practice_id}",
            field="key_bundle",
            way_out="call the practice and compare fingerprints",
        )


class ChainBroken(Refusal):
    """The bundle does not follow from the one that was confirmed."""

    def __init__(self, practice_id: str, version: int) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "BUNDLE_CHAIN_BROKEN",
            f"version {version} of {practice_id} does not follow from the keys known before",
            field="key_bundle",
            way_out="call the practice and confirm the new fingerprint with it",
        )


class FingerprintDiffers(Refusal):
    def __init__(self, practice_id: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "FINGERPRINT_DIFFERS",
            f"the digits are not those of the key bundle served for {practice_id}",
            field="fingerprint",
            way_out="read them out again; if they still differ, call the network operator",
        )


class PinnedBundles(Protocol):
    """The highest bundle seen of each peer. Pins only ever move through `pin` and `pin_confirmed`."""

    def get(self, practice_id: str) -> KeyBundle | None: ...

    def put(self, bundle: KeyBundle) -> None: ...


def verify_bundle(
    signed: SignedBundle,
    trust: x509.Certificate | Sequence[x509.Certificate],
    practice_id: str,
    now: datetime,
    pinned: KeyBundle | None,
    *,
    revoked_serials: Container[int] = (),
) -> KeyBundle:
    """The bundle, if it is the practice's own, current, and follows from *pinned*; else a refusal.

    A bundle that is pinned already needs no certificate again: its own may have run out since.
    practice_id: "hub" for the hub's signing keys.
    trust: the certificate authority, or several while one replaces another.
    """
    bundle = signed.bundle
    if bundle.practice_id != practice_id:
        raise BundleForged(f"the key bundle served for {practice_id} names another practice")
    if pinned is not None and bundle.version < pinned.version:
        raise BundleRolledBack(practice_id, bundle.version, pinned.version)
    if pinned is not None and bundle.version == pinned.version and bundle.hash != pinned.hash:
        raise BundleForked(practice_id, bundle.version)
    if pinned is None or bundle.version > pinned.version:
        authorities = [trust] if isinstance(trust, x509.Certificate) else list(trust)
        leaf = _certificate_of(signed, authorities, practice_id, now, revoked_serials)
        _check_certificate_signature(signed, leaf)
        _check_chain(signed, pinned)
        _check_that_keys_can_be_used(bundle)
    if now + _CLOCK_TOLERANCE < bundle.not_before:
        raise BundleNotYetValid(practice_id, bundle.not_before)
    if now >= bundle.expires_at:
        raise BundleExpired(practice_id, bundle.expires_at)
    return bundle


def pin(
    pins: PinnedBundles,
    signed: SignedBundle,
    trust: x509.Certificate | Sequence[x509.Certificate],
    practice_id: str,
    now: datetime,
    *,
    revoked_serials: Container[int] = (),
) -> KeyBundle:
    """Verify against the pin and move it up. Repeating it changes nothing."""
    pinned = pins.get(practice_id)
    bundle = verify_bundle(signed, trust, practice_id, now, pinned, revoked_serials=revoked_serials)
    if bundle != pinned:
        pins.put(bundle)
    return bundle


def pin_confirmed(
    pins: PinnedBundles,
    signed: SignedBundle,
    trust: x509.Certificate | Sequence[x509.Certificate],
    practice_id: str,
    now: datetime,
    digits: str,
    *,
    revoked_serials: Container[int] = (),
) -> KeyBundle:
    """Pin what a person confirmed by reading the fingerprint with the practice, whatever was pinned before.

    For the start of a partnership, and for a practice that lost its keys. Spaces in *digits* do not matter.
    """
    bundle = verify_bundle(signed, trust, practice_id, now, None, revoked_serials=revoked_serials)
    if re.sub(r"\D", "", digits) != fingerprint(bundle).replace(" ", ""):
        raise FingerprintDiffers(practice_id)
    pins.put(bundle)
    return bundle


def usable(pins: PinnedBundles, practice_id: str, now: datetime) -> KeyBundle | None:
    """The peer's bundle to seal to; None if it is unknown or expired.

    Then the entry travels without the peer's wrap, which is added on request once the peer has rotated.
    """
    return usable_now(pins.get(practice_id), now)


def usable_now(bundle: KeyBundle | None, now: datetime) -> KeyBundle | None:
    """As `usable`, of a bundle that is there already."""
    return bundle if bundle is not None and now < bundle.expires_at else None


def fingerprint(bundle: KeyBundle) -> str:
    """Eight groups of five digits for two people to compare on the phone: 132 bits of the bundle's hash."""
    digest = hashlib.sha256(b"tandem/fingerprint\0" + bundle.encoded).digest()
    digits = f"{int.from_bytes(digest) % 10**40:040}"
    return " ".join(digits[start : start + 5] for start in range(0, 40, 5))


def _certificate_of(
    signed: SignedBundle,
    authorities: Sequence[x509.Certificate],
    practice_id: str,
    now: datetime,
    revoked_serials: Container[int],
) -> x509.Certificate:
    """The leaf, if it leads to an authority and names exactly this practice."""
    path = "hub" if practice_id == "hub" else f"practice/{practice_id}"
    named = re.compile(rf"spiffe://[^/]+/{re.escape(path)}")

    def names_the_practice(
        _policy: Policy, _certificate: x509.Certificate, names: x509.SubjectAlternativeName
    ) -> None:
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        if len(uris) != 1 or named.fullmatch(uris[0]) is None:
            raise ValueError("not this practice's certificate")

    def is_no_authority(
        _policy: Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints | None
    ) -> None:
        if constraints is not None and constraints.ca:
            raise ValueError("an authority's certificate")

    # The defaults for a leaf are those of web servers and browsers; a practice's certificate is neither.
    leaf_policy = (
        ExtensionPolicy.permit_all()
        .require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, names_the_practice)
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, is_no_authority)
    )
    try:
        chain = [x509.load_der_x509_certificate(der) for der in signed.certificates]
        if any(each.serial_number in revoked_serials for each in chain):
            raise BundleForged(f"the certificate behind the key bundle of {practice_id} is revoked")
        verifier = (
            PolicyBuilder()
            .store(Store(list(authorities)))
            .time(now)
            .extension_policies(
                ca_policy=ExtensionPolicy.webpki_defaults_ca(),
                ee_policy=leaf_policy,
            )
            .build_client_verifier()
        )
        return verifier.verify(chain[0], chain[1:]).chain[0]
    except (VerificationError, IndexError, *UNREADABLE) as fault:
        raise BundleForged(f"no valid certificate of {practice_id} stands behind its key bundle") from fault


def _check_certificate_signature(signed: SignedBundle, leaf: x509.Certificate) -> None:
    key = leaf.public_key()
    try:
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise InvalidSignature
        message = signing_input(BY_CERTIFICATE, signed.bundle.encoded)
        key.verify(signed.certificate_signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as fault:
        raise BundleForged(
            f"the certificate of {signed.bundle.practice_id} did not sign its key bundle"
        ) from fault


def _check_chain(signed: SignedBundle, pinned: KeyBundle | None) -> None:
    """The predecessor signed, and so did the pinned version, with the key that the peer knows for itself."""
    bundle = signed.bundle
    broken = ChainBroken(bundle.practice_id, bundle.version)
    required = set(bundle.former[-1:])
    if pinned is not None:
        known = (*pinned.former, replace(pinned.signing_key_now, bundle_hash=pinned.hash))
        if not all(map(_only_dated_earlier, known, bundle.former)):
            raise broken
        required.add(bundle.former[pinned.version - 1])
    message = signing_input(BY_FORMER_KEY, bundle.encoded)
    for key in required:
        try:
            ed25519_key(key.public).verify(signed.former_signatures[key.version - 1], message)
        except (InvalidSignature, ValueError) as fault:
            raise broken from fault


def _check_that_keys_can_be_used(bundle: KeyBundle) -> None:
    """Else whoever pins it could seal nothing more for this practice, and so record nothing of a shared patient."""
    try:
        # By using them: reading alone does not show an X25519 point of low order.
        HPKE.encrypt(b"", bundle.hpke_key)
        ed25519_key(bundle.signing_public)
    except ValueError as fault:
        raise BundleForged(f"the key bundle of {bundle.practice_id} holds a key that is none") from fault


def _only_dated_earlier(known: SigningKey, now_said: SigningKey) -> bool:
    """History does not change, but a compromise may be found, or found older. It is never taken back."""
    unchanged = (known.version, known.public, known.expires_at, known.bundle_hash) == (
        now_said.version,
        now_said.public,
        now_said.expires_at,
        now_said.bundle_hash,
    )
    if known.compromised_from is None:
        return unchanged
    return (
        unchanged
        and now_said.compromised_from is not None
        and now_said.compromised_from <= known.compromised_from
    )
