"""How people of the clinic want to be told that something waits for them."""

import re

from tandem_care.errors import Invalid
from tandem_care.local_time import zone
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import ADMINISTRATION, Role, Staff
from tandem_clinic.store import audit, notices, staff
from tandem_clinic.store.notices import Message, Reached
from tandem_clinic.store.refusals import NotKnown
from tandem_platform.storage import Transaction

_ADDRESSES = {
    "email": re.compile(r"[!-~]+@[!-~]+"),
    "sms": re.compile(r"\+[1-9][0-9]{6,14}"),
    "webhook": re.compile(r"[!-~]{1,200}"),
}
_WANTED = {
    "email": "must be an e-mail address in ASCII",
    "sms": "must be a telephone number as +15035550100",
    "webhook": "must be the name that the receiver knows the person by, without spaces",
}


def set_reach(tx: Transaction, clinic: Clinic, by: Staff, wanted: Reached) -> Reached:
    """Of oneself; of others, an administrator."""
    if wanted.staff_id != by.staff_id:
        by.require(ADMINISTRATION)
    staff.get(tx, wanted.staff_id)
    _check(tx, wanted)
    notices.reach(tx, wanted, clinic.now())
    audit.note(tx, "notifications-set", clinic.now(), by=by, subject_id=wanted.staff_id)
    return wanted


def _check(tx: Transaction, wanted: Reached) -> None:
    for channel, address in wanted.channels:
        if channel not in _ADDRESSES:
            raise ContentInvalid(Invalid("channels", f"must be among {', '.join(_ADDRESSES)}"))
        if len(address) > 254 or not _ADDRESSES[channel].fullmatch(address):
            raise ContentInvalid(Invalid("channels", _WANTED[channel]))
    try:
        zone(wanted.time_zone)
    except Invalid as fault:
        raise ContentInvalid(fault) from None
    if wanted.cover_staff_id == wanted.staff_id:
        raise ContentInvalid(Invalid("cover_staff_id", "must be somebody else"))
    if wanted.cover_staff_id and notices.reached(tx, wanted.cover_staff_id) is None:
        raise ContentInvalid(Invalid("cover_staff_id", "must be somebody who says how to be reached"))


def get_reach(tx: Transaction, by: Staff, staff_id: str) -> Reached:
    if staff_id != by.staff_id:
        by.require(ADMINISTRATION)
    found = notices.reached(tx, staff_id)
    if found is None:
        raise NotKnown("staff member's way to be reached", "staff_id")
    return found


def note_bounce(tx: Transaction, clinic: Clinic, by: Staff, message_id: str) -> Message:
    """Whoever reads the mailbox that bounces go to says so; once. The person's next channel has its turn, or the worklist says it."""
    by.require(ADMINISTRATION | {Role.INTEGRATION})
    if notices.get(tx, message_id) is None:
        raise NotKnown("notification", "message_id")
    notices.mark_bounced(tx, message_id, clinic.now())
    tx.wake(notices.NOTICES)
    found = notices.get(tx, message_id)
    assert found is not None
    return found
