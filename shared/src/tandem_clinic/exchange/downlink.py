"""The rows of a clinic's downlink: proven and opened here, given effect by the use cases."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import func, select

from tandem.exchange.v1 import exchange_pb2 as pb
from tandem_care import entry_kinds
from tandem_care.errors import Invalid
from tandem_clinic.clinic import Clinic
from tandem_clinic.store import episodes, partners
from tandem_clinic.store.tables import revocation_known
from tandem_clinic.usecases import incoming, wraps
from tandem_platform.audit.roots import root_fault
from tandem_platform.exchange import log
from tandem_platform.exchange.reader import Item, RowFault
from tandem_platform.exchange.signing import HUB
from tandem_platform.ids import is_id
from tandem_platform.rpc import words
from tandem_platform.sealing import KeyBundle, SealBroken, open_entry, sign_received, verify_received
from tandem_platform.sealing.entries import MOST_RECEIVED
from tandem_platform.storage import Transaction
from tandem_platform.storage.lists import among

_NEWS: Final[Mapping[str, Callable[[Transaction, Clinic, Any], None]]] = {
    "permission_changed": incoming.permission_changed,
    "permission_revoked": incoming.permission_revoked,
    "revocation_acknowledged": incoming.revocation_acknowledged,
    "referral_changed": incoming.referral_changed,
    "partnership_changed": incoming.partnership_changed,
    "key_bundle_changed": incoming.key_bundle_changed,
    "wrap_requested": wraps.wrap_requested,
    "receipt_returned": incoming.receipt_returned,
    "audit_root_published": incoming.audit_root_published,
}


class DownlinkHandler:
    """Gives downlink rows effect, and signs receipts for the entries among them."""

    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic

    def is_ready(self, tx: Transaction, log_name: str) -> bool:
        return True

    def must_wait(self, tx: Transaction, log_name: str, body: pb.RowBody) -> bool:
        return False

    def episode_of(self, body: pb.RowBody) -> str | None:
        """Only entries wait behind one another: news of permissions never wait behind content."""
        if body.WhichOneof("content") == "entry_released":
            episode_id = body.entry_released.entry.labels.episode_id
            return episode_id if is_id(episode_id, "epi") else None
        return None

    def apply(self, tx: Transaction, items: Sequence[Item]) -> None:
        """In order; neighbouring entries are dealt with together, and one row for each origin tells of their receipt."""
        batch = _Batch(tx, self._clinic)
        together: list[pb.EntryReleased] = []
        for item in items:
            content = item.body.WhichOneof("content") or ""
            if content == "entry_released":
                together.append(item.body.entry_released)
                continue
            if content not in _NEWS:
                raise RowFault("not-for-a-downlink")
            batch.take_entries(together)
            together = []
            told = getattr(item.body, content)
            batch.prove(content, told)
            _NEWS[content](tx, self._clinic, told)
        batch.take_entries(together)
        batch.send_receipts()


class _Batch:
    """What one transaction takes from the downlink."""

    def __init__(self, tx: Transaction, clinic: Clinic) -> None:
        self._tx = tx
        self._clinic = clinic
        self._bundles: dict[str, KeyBundle] = {}
        self._received: dict[str, list[pb.SealedEntry]] = {}

    def take_entries(self, released: Sequence[pb.EntryReleased]) -> None:
        if not released:
            return
        revoked = _revocations(self._tx, {each.permission_id for each in released})
        known = episodes.found(self._tx, {each.entry.labels.episode_id for each in released})
        opened: list[incoming.Opened] = []
        for each in released:
            if revoked.get(each.permission_id, 0) > each.permission_version:
                # Sync has told of a revocation that this copy does not know of yet.
                continue
            labels = each.entry.labels
            content = self._opened(each.entry)
            episode = known.get(labels.episode_id)
            if episode is None:
                raise RowFault("unknown-episode")
            if episode.partner_practice_id != labels.origin_practice_id:
                raise RowFault("not-the-episodes-partner")
            opened.append(incoming.Opened(each, content, episode.patient_id or ""))
            self._received.setdefault(labels.origin_practice_id, []).append(each.entry)
        incoming.entries_received(self._tx, self._clinic, opened)

    def send_receipts(self) -> None:
        clinic = self._clinic
        for origin, sealed in sorted(self._received.items()):
            body = pb.RowBody(entries_received=sign_received(clinic.keys, origin, sealed))
            log.stage(self._tx, clinic.uplink, body, at=clinic.now(), urgent=False)

    def _opened(self, sealed: pb.SealedEntry) -> bytes:
        """The content, proven and readable, or the fault of whoever sealed it."""
        origin = self._bundle(sealed.labels.origin_practice_id)
        try:
            content = open_entry(sealed, self._clinic.keys, origin)
            category = entry_kinds.from_json(content).category
        except SealBroken as broken:
            raise _fault(broken) from None
        except Invalid:
            raise RowFault("content-invalid") from None
        if category != words.category_code(sealed.labels.category):
            raise RowFault("category-differs")
        return content

    def prove(self, content: str, told: Any) -> None:
        """What somebody else than the log's writer signed, or signed for good, is checked by its own signature."""
        if content == "receipt_returned":
            if len(told.items) > MOST_RECEIVED:
                raise RowFault("receipt-too-long")
            try:
                verify_received(told, self._bundle(told.recipient_practice_id), self._clinic.now())
            except SealBroken as broken:
                raise _fault(broken) from None
        elif content == "audit_root_published" and root_fault(self._bundle(HUB), told) is not None:
            raise RowFault("root-not-signed-by-hub")

    def _bundle(self, practice_id: str) -> KeyBundle:
        if practice_id not in self._bundles:
            bundle = partners.Pins(self._tx, self._clinic.clock).get(practice_id)
            if bundle is None:
                raise RowFault("keys-not-pinned")
            self._bundles[practice_id] = bundle
        return self._bundles[practice_id]


KEY_NOT_KNOWN = "seal-signing-key-unknown"
"""Why a row is parked that its origin signed with a key which has not been learned here yet."""


def _fault(broken: SealBroken) -> RowFault:
    return RowFault(broken.reason.lower().replace("_", "-"))


def _revocations(tx: Transaction, permission_ids: set[str]) -> dict[str, int]:
    """The highest version of each of these permissions at which Sync has told of its revocation."""
    rows = tx.all(_REVOKED, permissions=sorted(permission_ids - {""}))
    return {row.permission_id: row.permission_version for row in rows}


_REVOKED = (
    select(
        revocation_known.c.permission_id,
        func.max(revocation_known.c.permission_version).label("permission_version"),
    )
    .where(among(revocation_known.c.permission_id, "permissions"))
    .group_by(revocation_known.c.permission_id)
)
