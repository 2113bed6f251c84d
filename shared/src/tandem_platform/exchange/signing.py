"""Signing and verifying heads with a practice's keys; the hub is a practice here, named "hub"."""

from datetime import datetime

from tandem_platform.exchange.rows import Sign, Verify
from tandem_platform.sealing import KeyBundle, PracticeKeys

_PURPOSE = "exchange-head"
HUB = "hub"


def signer(keys: PracticeKeys) -> Sign:
    return lambda message: keys.sign(_PURPOSE, message)


def verifier(bundle: KeyBundle | None, now: datetime) -> Verify:
    """Whether a signature is the bundle's practice's. A practice without keys has signed nothing."""
    if bundle is None:
        return lambda signature, message: False
    return lambda signature, message: (
        bundle.signature_fault(_PURPOSE, message, signature, version=None, at=now) is None
    )
