"""The journal: first in, first out, once, through lost answers, refusals and a restored hub."""

import threading
from datetime import timedelta

import pytest

from support.clinics import PARTNERSHIP, AClinic, a_clinic, a_form, confirmed, no
from tandem.directory.v1.directory_pb2 import SuspendPartnershipRequest
from tandem_care.categories import Category
from tandem_clinic.hub import journal
from tandem_clinic.store import permissions, worklist
from tandem_clinic.usecases.permissions import grant_permission, revoke_permission, terms_from
from tandem_clinic.usecases.referrals import request_referral
from tandem_platform.errors import Code


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path)


def asks(clinic: AClinic, subject_id: str = PARTNERSHIP) -> str:
    with clinic.db.transaction() as tx:
        return journal.queue(
            tx,
            clinic.clinic,
            "SuspendPartnership",
            SuspendPartnershipRequest(partnership_id=PARTNERSHIP),
            author_id=clinic.clinician.staff_id,
            subject_id=subject_id,
        )


def states(clinic: AClinic) -> dict[str, str]:
    with clinic.db.reading() as tx:
        return {command.request_id: command.state for command in journal.listed(tx)}


def test_commands_go_out_in_the_order_in_which_they_were_queued(juniper):
    asked = [asks(juniper, f"subject-{number}") for number in range(10)]
    juniper.settles()
    assert [request.request_id for _, request in juniper.hub.commands] == asked


def test_a_command_behind_one_that_waits_waits_too(juniper):
    juniper.hub.answers["SuspendPartnership"] = no(Code.UNAVAILABLE, "BUSY")
    asks(juniper, "one"), asks(juniper, "two")
    juniper.settles()
    assert set(states(juniper).values()) == {"queued"}
    assert not juniper.journal.step()
    del juniper.hub.answers["SuspendPartnership"]
    juniper.network.clock.advance(timedelta(seconds=31))
    juniper.settles()
    assert set(states(juniper).values()) == {"answered"}


def test_a_stale_version_is_an_answer_and_does_not_block_the_rest(juniper):
    juniper.hub.answers["SuspendPartnership"] = no(Code.ABORTED, "STALE_VERSION")
    first = asks(juniper)
    juniper.settles()
    assert states(juniper)[first] == "refused"


def test_what_an_operator_must_mend_keeps_a_command_and_raises_an_alert(juniper):
    juniper.hub.answers["SuspendPartnership"] = no(Code.UNAUTHENTICATED, "IDENTITY_REFUSED")
    asked = asks(juniper)
    for _ in range(journal.ALERT_AFTER):
        juniper.journal.hub_is_back()
        juniper.settles()
    with juniper.db.reading() as tx:
        assert [kind for kind, *_ in worklist.alerts(tx)] == ["journal-stuck"]
    assert states(juniper)[asked] == "queued"


def test_pressing_tells_the_answer_even_if_another_thread_sent_it(juniper):
    """Two senders race for one command; neither may call an answered command queued."""
    for _ in range(20):
        asked = asks(juniper)
        seen = []
        threads = [
            threading.Thread(target=lambda: seen.append(juniper.journal.press(asked).state)),  # noqa: B023
            threading.Thread(target=juniper.journal.step),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == ["answered"]


def test_a_restored_hub_gets_what_it_lost_again_in_order(juniper):
    asked = [asks(juniper, f"subject-{number}") for number in range(5)]
    juniper.settles()
    del juniper.hub.commands[2:]
    juniper.hub._remembered = {key: juniper.hub._remembered[key] for key in asked[:2]}
    with juniper.db.transaction() as tx:
        assert journal.replay_above(tx, juniper.clinic, 2) == 3
    juniper.settles()
    assert [request.request_id for _, request in juniper.hub.commands] == asked
    with juniper.db.reading() as tx:
        assert journal.commands_known(tx) == 5


def test_a_revocation_does_not_depend_on_anything_but_its_grant(juniper):
    patient_id = juniper.registers()
    juniper.hub.answers["RequestReferral"] = confirmed
    with juniper.db.transaction() as tx:
        asked = request_referral(
            tx, juniper.clinic, juniper.clinician, patient_id, PARTNERSHIP, "psychotherapy", a_form()
        )
    juniper.settles()
    with juniper.db.transaction() as tx:
        terms = terms_from([Category.SCALE_SCORE], "treatment")
        first = grant_permission(tx, juniper.clinic, juniper.clinician, asked.episode_id, terms, a_form())
        second = grant_permission(tx, juniper.clinic, juniper.clinician, asked.episode_id, terms, a_form())
        revoked = revoke_permission(tx, juniper.clinic, juniper.clinician, second.subject_id)
    granted = juniper.hub.answers["GrantConsent"]
    juniper.hub.answers["GrantConsent"] = lambda request: (
        no(Code.FAILED_PRECONDITION, "ID_TAKEN")(request)
        if request.permission.permission_id == first.subject_id
        else granted(request)
    )
    juniper.settles()
    found = states(juniper)
    assert found[first.request_id] == "refused"
    assert found[second.request_id] == found[revoked.request_id] == "answered"
    with juniper.db.reading() as tx:
        assert permissions.get(tx, first.subject_id).state == "refused"
