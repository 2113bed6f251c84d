"""Practices with certificates and keys, and entries for them to seal."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from tandem.common.v1.common_pb2 import CATEGORY_SCALE_SCORE
from tandem.exchange.v1.exchange_pb2 import EntryLabels
from tandem_ops.certs import DevelopmentCA, Wish
from tandem_platform.clock import SimulatedClock
from tandem_platform.ids import new_id
from tandem_platform.sealing import KeyBundle, PracticeCertificate, PracticeKeys, load_certificate

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class KeyNetwork:
    """A certificate authority and what it certifies, at noon."""

    def __init__(self, directory: Path) -> None:
        self.clock = SimulatedClock(NOON)
        self.authority = DevelopmentCA(directory, clock=self.clock)
        self.trust = x509.load_pem_x509_certificate(self.authority.roots_pem)

    def certificate(self, practice_id: str, wish: Wish | None = None) -> PracticeCertificate:
        issued = (
            self.authority.issue_hub(wish or Wish())
            if practice_id == "hub"
            else self.authority.issue_practice(practice_id, wish or Wish())
        )
        return load_certificate(issued.certificate_pem, issued.key_pem)

    def keys(self, practice_id: str | None = None, at: datetime = NOON) -> PracticeKeys:
        practice_id = practice_id or new_id("prac")
        return PracticeKeys.generate(practice_id, self.certificate(practice_id), at)

    def rotated(
        self,
        keys: PracticeKeys,
        at: datetime = NOON,
        compromised_from: dict[int, datetime] | None = None,
    ) -> PracticeKeys:
        certificate = self.certificate(keys.practice_id)
        return keys.rotated(certificate, at, compromised_from=compromised_from)


class PinsInMemory:
    """The port's contract, and nothing of its storage: that is each clinic's."""

    def __init__(self) -> None:
        self._pins: dict[str, KeyBundle] = {}

    def get(self, practice_id: str) -> KeyBundle | None:
        return self._pins.get(practice_id)

    def put(self, bundle: KeyBundle) -> None:
        self._pins[bundle.practice_id] = bundle


def some_labels(origin_practice_id: str, authored_at: datetime = NOON) -> EntryLabels:
    labels = EntryLabels(
        entry_id=new_id("ent"),
        episode_id=new_id("epi"),
        origin_practice_id=origin_practice_id,
        category=CATEGORY_SCALE_SCORE,
    )
    labels.authored_at.FromDatetime(authored_at)
    return labels
