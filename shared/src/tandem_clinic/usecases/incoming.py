"""What the hub's downlink rows change here. Verified and opened before; in the transaction that moves the cursor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from tandem.exchange.v1.exchange_pb2 import (
    AuditRootPublished,
    EntriesReceived,
    EntryReleased,
    KeyBundleChanged,
    PartnershipChanged,
    PermissionChanged,
    PermissionRevoked,
    PracticeChanged,
    ReferralChanged,
    RevocationAcknowledged,
    RowBody,
)
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.episodes import ReferralView
from tandem_clinic.hub import journal
from tandem_clinic.hub.times import time_in
from tandem_clinic.store import (
    audit,
    entries,
    episodes,
    permissions,
    referral_lines,
    referrals,
    watches,
    worklist,
)
from tandem_clinic.store.permissions import PermissionRecord
from tandem_clinic.store.tables import audit_root
from tandem_clinic.usecases import given, partner
from tandem_clinic.usecases.course_watch import MOVES_CLOCKS
from tandem_clinic.usecases.referral_course import known_patient
from tandem_clinic.usecases.referrals import CLOSED, apply_referral, line_of, queue_receive
from tandem_clinic.usecases.sharing import withhold_unsent
from tandem_platform.exchange import log
from tandem_platform.rpc import words
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new


def referral_changed(tx: Transaction, clinic: Clinic, told: ReferralChanged) -> None:
    """A new referral waits on the worklist until somebody says whose it is; the hub is told that it arrived."""
    if told.state != CLOSED:
        referral_lines.put(tx, line_of(told, clinic))
    if apply_referral(tx, clinic, told) is not None:
        return
    now = clinic.now()
    inbound = told.recipient_practice_id == clinic.practice_id
    changed_at = time_in(told, "changed_at") or now
    referral = ReferralView(
        referral_id=told.referral_id,
        episode_id=told.episode_id,
        partnership_id=told.partnership_id,
        referrer_practice_id=told.referrer_practice_id,
        recipient_practice_id=told.recipient_practice_id,
        kind=told.kind,
        urgency=told.urgency,
        state=told.state,
        reason=told.reason,
        outcome=told.outcome,
        version=told.version,
        intake="waiting" if inbound else "own",
        replaces_referral_id=told.replaces_referral_id,
        requested_by="",
        requested_at=changed_at,
        changed_at=changed_at,
        first_opened_at=None,
        continues_referral_id=told.continues_referral_id,
        moved_by_practice_id=told.moved_by_practice_id,
        cancel_from=told.cancel_from,
        closed_from=told.closed_from,
        due_at=time_in(told, "due_at"),
    )
    referrals.add(tx, referral)
    partner_id = told.referrer_practice_id if inbound else told.recipient_practice_id
    episodes.add(tx, told.episode_id, told.partnership_id, partner_id, None, now)
    if referral.is_over:
        episodes.close(tx, told.episode_id, now)
        return
    kind = "inbound-referral" if inbound else "episode-unlinked"
    patient_id = known_patient(tx, told.continues_referral_id)
    if patient_id is not None and episodes.open_with(tx, patient_id, told.partnership_id) is None:
        # The two have treated this patient together before: nobody needs to be asked whose referral it is.
        episodes.link(tx, told.episode_id, patient_id)
        referrals.change(tx, referral, intake="linked" if inbound else "own")
        kind = "referral-continued"
    worklist.raise_item(
        tx,
        kind,
        told.referral_id,
        now,
        episode_id=told.episode_id,
        urgency=told.urgency,
        referral_kind=told.kind,
    )
    if inbound and told.state == "requested":
        queue_receive(tx, clinic, referral)


def permission_changed(tx: Transaction, clinic: Clinic, told: PermissionChanged) -> None:
    known = permissions.find(tx, told.permission_id)
    if known is not None and told.permission_version < known.version:
        return
    now = clinic.now()
    if known is None:
        permissions.add(
            tx,
            PermissionRecord(
                permission_id=told.permission_id,
                version=told.permission_version,
                episode_id=told.episode_id,
                discloser_practice_id=told.discloser_practice_id,
                recipient_practice_id=told.recipient_practice_id,
                categories=tuple(sorted(words.category_code(number) for number in told.categories)),
                purpose=words.purpose_code(told.purpose),
                basis=words.basis_code(told.basis),
                effect=words.effect_code(told.effect),
                state=told.state,
                starts_at=time_in(told, "starts_at") or now,
                ends_at=time_in(told, "ends_at"),
                history_from=time_in(told, "history_from"),
                evidence_hash=b"",
                recorded_by="",
                changed_at=now,
                entry_ids=tuple(told.entry_ids),
            ),
        )
    elif not journal.queued(tx, subject_id=told.permission_id):
        permissions.change(
            tx,
            told.permission_id,
            version=told.permission_version,
            state=told.state,
            starts_at=time_in(told, "starts_at") or known.starts_at,
            ends_at=time_in(told, "ends_at"),
            history_from=time_in(told, "history_from"),
            changed_at=now,
        )
    ours = told.discloser_practice_id == clinic.practice_id
    if ours and (told.state in ("revoked", "held") or words.effect_code(told.effect) == "deny"):
        withhold_unsent(tx, clinic, told.episode_id, "held" if told.state == "held" else "revoked")
    if not ours and told.state == "active":
        given.lift_marks(tx, clinic, told.episode_id)


def permission_revoked(tx: Transaction, clinic: Clinic, told: PermissionRevoked) -> None:
    """A permission given to us ended: what it gave is marked. Acknowledged.

    What was voided on its way, and reached us all the same, goes, unless a person has read it: then it stays, marked, and we say so.
    """
    now = clinic.now()
    known = permissions.find(tx, told.permission_id)
    if known is not None and told.permission_version >= known.version:
        permissions.change(
            tx, told.permission_id, version=told.permission_version, state=told.state, changed_at=now
        )
    if told.permission_id:
        given.mark_without_permission(tx, clinic, told.permission_id, told.episode_id)
    voided = list(told.voided_entry_ids)
    kept = entries.read_by_a_person(tx, voided)
    entries.mark_revoked(tx, kept)
    entries.forget(tx, [entry_id for entry_id in voided if entry_id not in kept])
    audit.note(
        tx,
        "revocation-noted",
        now,
        subject_id=told.permission_id,
        voided=str(len(voided)),
        kept=str(len(kept)),
    )
    if not told.permission_id:
        # A denial, whose id is not for us: there is nothing to acknowledge.
        return
    acknowledged = RevocationAcknowledged(
        permission_id=told.permission_id,
        permission_version=told.permission_version,
        kept_entry_ids=sorted(kept),
    )
    worklist.raise_item(
        tx,
        "revocation",
        told.permission_id,
        now,
        episode_id=told.episode_id,
        state=told.state,
        kept=str(len(kept)),
    )
    log.stage(
        tx,
        clinic.uplink,
        RowBody(revocation_acknowledged=acknowledged),
        at=now,
        permission_id=told.permission_id,
    )


def revocation_acknowledged(tx: Transaction, clinic: Clinic, told: RevocationAcknowledged) -> None:
    """The partner has taken notice of a revocation of ours; what it had read before, it keeps."""
    audit.note(
        tx,
        "revocation-acknowledged",
        clinic.now(),
        subject_id=told.permission_id,
        kept=str(len(told.kept_entry_ids)),
    )
    permissions.change(tx, told.permission_id, acknowledged_at=clinic.now())


@dataclass(frozen=True, slots=True)
class Opened:
    """A released entry that was proven and opened. ``patient_id`` is empty until somebody says whose episode it is."""

    released: EntryReleased
    content: bytes
    patient_id: str


def entries_received(tx: Transaction, clinic: Clinic, opened: Sequence[Opened]) -> None:
    """Keep those that are new. An amendment or withdrawal takes effect on what it is about, whichever of the two came first."""
    now = clinic.now()
    known = entries.known_received(tx, [each.released.entry.labels.entry_id for each in opened])
    # Voided on their way, and released anew by another permission; what a person had read has stayed.
    revoked = {entry_id: each.has_content for entry_id, each in known.items() if each.state == "revoked"}
    entries.remove_received(tx, [entry_id for entry_id, is_kept in revoked.items() if not is_kept])
    given.lift_released_anew(
        tx, [each.released for each in opened if revoked.get(each.released.entry.labels.entry_id)]
    )
    fresh: dict[str, Opened] = {}
    for each in opened:
        entry_id = each.released.entry.labels.entry_id
        if entry_id not in known or revoked.get(entry_id) is False:
            fresh.setdefault(entry_id, each)
    entries.add_received(tx, clinic.vault, [(each.released, each.content) for each in fresh.values()], now)
    amended = {each.released.entry.labels.amends_entry_id for each in fresh.values()} - {""}
    entries.follow_successors(tx, amended | fresh.keys())
    clocked = {
        each.released.entry.labels.episode_id
        for each in fresh.values()
        if words.category_code(each.released.entry.labels.category) in MOVES_CLOCKS
    }
    watches.look(tx, clocked, now)
    _ask_to_acknowledge(tx, clinic, fresh)
    for entry_id, each in fresh.items():
        labels = each.released.entry.labels
        audit.note(
            tx,
            "received",
            now,
            patient_id=each.patient_id,
            subject_id=entry_id,
            origin=labels.origin_practice_id,
            category=words.category_code(labels.category),
        )


def _ask_to_acknowledge(tx: Transaction, clinic: Clinic, fresh: Mapping[str, Opened]) -> None:
    """What somebody here has read, and its author takes back, is hidden; that person's practice takes notice."""
    labels = [each.released.entry.labels for each in fresh.values()]
    taken_back = {each.amends_entry_id: each.episode_id for each in labels if each.entered_in_error}
    for entry_id in entries.read_by_a_person(tx, list(taken_back)):
        worklist.raise_item(tx, "entered-in-error", entry_id, clinic.now(), episode_id=taken_back[entry_id])


def partnership_changed(tx: Transaction, clinic: Clinic, told: PartnershipChanged) -> None:
    partner.partnership_changed(tx, clinic, told)


def key_bundle_changed(tx: Transaction, clinic: Clinic, told: KeyBundleChanged) -> None:
    """Fetched by the upkeep, outside this transaction: a call to the hub must not hold the cursor."""
    worklist.raise_item(
        tx,
        "key-bundle-changed",
        told.practice_id,
        clinic.now(),
        staff_id=worklist.SERVICE,
        version=str(told.version),
    )


def practice_changed(tx: Transaction, clinic: Clinic, told: PracticeChanged) -> None:
    """Names, sites and telephone numbers are fetched by the upkeep, too."""
    worklist.raise_item(
        tx,
        partner.PROFILE_WANTED,
        told.practice_id,
        clinic.now(),
        staff_id=worklist.SERVICE,
        version=str(told.version),
    )


def receipt_returned(tx: Transaction, clinic: Clinic, told: EntriesReceived) -> None:
    """The partner's signed word, verified before, that it holds our entries.

    A wrong hash is an alarm, and so is the word of another practice: with it a hub could hide what it kept from the partner.
    """
    now = clinic.now()
    sent = entries.sent(tx, [item.entry_id for item in told.items])
    right: dict[str, bytes] = {}
    for item in told.items:
        if item.entry_id not in sent:
            continue
        known = sent[item.entry_id]
        if (known.content_hash, known.recipient) == (item.content_hash, told.recipient_practice_id):
            right[item.entry_id] = item.content_hash
        else:
            worklist.raise_alert(tx, "receipt-differs", now, item.entry_id)
    fresh = entries.add_receipts(tx, told.recipient_practice_id, right, now)
    worklist.settle(tx, "receipt-overdue", fresh, now)
    for entry_id in fresh:
        audit.note(
            tx,
            "delivered",
            now,
            patient_id=sent[entry_id].patient_id,
            subject_id=entry_id,
            recipient=told.recipient_practice_id,
        )


def audit_root_published(tx: Transaction, clinic: Clinic, told: AuditRootPublished) -> None:
    """Kept, so that the hub cannot rewrite its account. Two roots for one tree are an alarm."""
    now = clinic.now()
    values = {
        "tree_number": told.tree_number,
        "published_at": time_in(told, "published_at") or now,
        "root": told.root,
        "signature": told.signature,
        "kept_at": now,
    }
    if not insert_new(tx, audit_root, values):
        row = tx.first(select(audit_root.c.root).where(audit_root.c.tree_number == told.tree_number))
        if row is not None and row.root != told.root:
            worklist.raise_alert(tx, "audit-root-forked", now, str(told.tree_number))
