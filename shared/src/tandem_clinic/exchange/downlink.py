"""The rows of a clinic's downlink: proven and opened here, given effect by the use cases."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select

from tandem.exchange.v1 import exchange_pb2 as pb
from tandem_care import entry_kinds
from tandem_care.errors import Invalid
from tandem_clinic.clinic import Clinic
from tandem_clinic.store import episodes, partners
from tandem_clinic.store.tables import received_entry, revocation_known
from tandem_clinic.usecases import incoming, wraps
from tandem_platform.audit.roots import root_fault
from tandem_platform.exchange import log
from tandem_platform.exchange.reader import Item, RowFault
from tandem_platform.exchange.signing import HUB
from tandem_platform.rpc import words
from tandem_platform.sealing import KeyBundle, SealBroken, open_entry, sign_received, verify_received
from tandem_platform.storage import Transaction

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
            return body.entry_released.entry.labels.episode_id
        return None

    def apply(self, tx: Transaction, items: Sequence[Item]) -> None:
        """In order; receipts for all entries of the batch go out as one row for each origin."""
        received: dict[str, list[pb.SealedEntry]] = {}
        for item in items:
            content = item.body.WhichOneof("content") or ""
            if content == "entry_released":
                self._take_entry(tx, item.body.entry_released, received)
            elif content in _NEWS:
                told = getattr(item.body, content)
                self._prove(tx, content, told)
                _NEWS[content](tx, self._clinic, told)
            else:
                raise RowFault("not-for-a-downlink")
        for origin, sealed in sorted(received.items()):
            body = pb.RowBody(entries_received=sign_received(self._clinic.keys, origin, sealed))
            log.stage(tx, self._clinic.uplink, body, at=self._clinic.now())

    def _take_entry(
        self, tx: Transaction, released: pb.EntryReleased, received: dict[str, list[pb.SealedEntry]]
    ) -> None:
        labels = released.entry.labels
        if _is_revoked(tx, released.permission_id, released.permission_version):
            return
        content = self._opened(tx, released.entry)
        episode = episodes.find(tx, labels.episode_id)
        if episode is None:
            raise RowFault("unknown-episode")
        if episode.partner_practice_id != labels.origin_practice_id:
            raise RowFault("not-the-episodes-partner")
        known = tx.first(select(received_entry.c.state).where(received_entry.c.entry_id == labels.entry_id))
        if known is not None and known.state == "revoked":
            # Voided on its way, and released anew by another permission.
            tx.execute(received_entry.delete().where(received_entry.c.entry_id == labels.entry_id))
        incoming.entry_received(tx, self._clinic, released, content)
        received.setdefault(labels.origin_practice_id, []).append(released.entry)

    def _opened(self, tx: Transaction, sealed: pb.SealedEntry) -> bytes:
        """The content, proven and readable, or the fault of whoever sealed it."""
        origin = self._bundle(tx, sealed.labels.origin_practice_id)
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

    def _prove(self, tx: Transaction, content: str, told: Any) -> None:
        """What somebody else than the log's writer signed, or signed for good, is checked by its own signature."""
        if content == "receipt_returned":
            try:
                verify_received(told, self._bundle(tx, told.recipient_practice_id), self._clinic.now())
            except SealBroken as broken:
                raise _fault(broken) from None
        elif content == "audit_root_published" and root_fault(self._bundle(tx, HUB), told) is not None:
            raise RowFault("root-not-signed-by-hub")

    def _bundle(self, tx: Transaction, practice_id: str) -> KeyBundle:
        bundle = partners.Pins(tx, self._clinic.clock).get(practice_id)
        if bundle is None:
            raise RowFault("keys-not-pinned")
        return bundle


def _fault(broken: SealBroken) -> RowFault:
    return RowFault(broken.reason.lower().replace("_", "-"))


def _is_revoked(tx: Transaction, permission_id: str, version: int) -> bool:
    """Whether Sync has told of a revocation that this copy does not know of yet."""
    query = select(revocation_known.c.number).where(
        revocation_known.c.permission_id == permission_id, revocation_known.c.permission_version > version
    )
    return bool(permission_id) and tx.first(query) is not None
