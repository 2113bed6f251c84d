"""One clinic: who it is, and what its use cases work with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from tandem_care.lifecycle import REMIND_BEFORE
from tandem_clinic.hub.gateway import Gateway
from tandem_clinic.store.vault import Vault
from tandem_platform.clock import Clock
from tandem_platform.exchange.rows import uplink
from tandem_platform.sealing.keys import PracticeKeys
from tandem_platform.storage import Database


@dataclass(frozen=True)
class Clinic:
    """Passed to every use case beside its transaction. Safe to share between threads.

    part2_program: the practice is a 42 CFR Part 2 programme; all that it sends is labelled so.
    allows_treatment_basis: the practice accepts a treatment relationship as a basis (45 CFR 164.506).
    remind_before: how long before a referral's clock runs out its owner is reminded.
    trust: the network's certificate authorities, which partners' key bundles must lead to.
    """

    practice_id: str
    display_name: str
    db: Database
    keys: PracticeKeys
    vault: Vault
    clock: Clock
    gateway: Gateway
    trust: Sequence[x509.Certificate]
    part2_program: bool = False
    allows_treatment_basis: bool = False
    remind_before: timedelta = REMIND_BEFORE

    @property
    def uplink(self) -> str:
        return uplink(self.practice_id)

    def now(self) -> datetime:
        return self.clock.now()
