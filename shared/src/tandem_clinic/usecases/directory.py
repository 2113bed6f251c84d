"""The network's directory: finding practices, and what the clinic says there of itself."""

from typing import Final

from tandem.directory.v1.directory_pb2 import (
    GetPracticeRequest,
    Needs,
    Practice,
    SearchPracticesRequest,
    SearchPracticesResponse,
    UpdateProfileRequest,
)
from tandem_care.errors import Invalid
from tandem_care.matching import check_needs
from tandem_care.profile import check_profile
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import COORDINATION, Role, Staff
from tandem_clinic.hub import journal
from tandem_clinic.store import audit
from tandem_platform.storage import Transaction

MAY_LOOK: Final = COORDINATION | {Role.ADMIN}
MAY_DESCRIBE: Final = frozenset({Role.ADMIN, Role.COORDINATOR})
"""Who speaks for the practice."""

PROFILE: Final = "profile"


def search_practices(
    clinic: Clinic, by: Staff, required: Needs, preferred: Needs, page_size: int, page_token: str
) -> SearchPracticesResponse:
    """Nothing of a patient goes to the hub: codes of what is looked for, and no word of for whom."""
    by.require(MAY_LOOK)
    for field, needs in (("required", required), ("preferred", preferred)):
        try:
            check_needs(needs)
        except Invalid as fault:
            raise ContentInvalid(fault, field) from None
    request = SearchPracticesRequest(
        required=required, preferred=preferred, page_size=page_size, page_token=page_token
    )
    return clinic.gateway.ask(clinic.gateway.directory.SearchPractices, request)


def get_practice(clinic: Clinic, by: Staff, practice_id: str) -> Practice:
    by.require(MAY_LOOK)
    request = GetPracticeRequest(practice_id=practice_id)
    return clinic.gateway.ask(clinic.gateway.directory.GetPractice, request).practice


def replace_profile(tx: Transaction, clinic: Clinic, by: Staff, profile: Practice) -> str:
    """*profile.version* is the one that was read. The command's id."""
    by.require(MAY_DESCRIBE)
    try:
        check_profile(profile)
    except Invalid as fault:
        raise ContentInvalid(fault) from None
    profile.practice_id = clinic.practice_id
    request_id = journal.queue(
        tx,
        clinic,
        "UpdateProfile",
        UpdateProfileRequest(practice=profile),
        author_id=by.staff_id,
        subject_id=PROFILE,
    )
    audit.note(tx, "profile-replaced", clinic.now(), by=by, subject_id=request_id)
    return request_id
