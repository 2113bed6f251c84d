"""Moving referrals along from a clinic: what is possible, what is predicted, what comes in."""

from datetime import timedelta
from typing import Any

import pytest

from support.clinics import JUNIPER, PARTNERSHIP, RIVERBEND, AClinic, a_clinic, a_form, an_identity, confirmed
from support.sealing import NOON
from tandem.common.v1.common_pb2 import CATEGORY_IDENTITY_CONTACT
from tandem.exchange.v1.exchange_pb2 import EntryLabels, EntryReleased, ReferralChanged, SealedEntry
from tandem.referral.v1 import referral_pb2
from tandem_care.entry_kinds import to_json
from tandem_care.lifecycle import Move
from tandem_clinic.domain.refusals import ContentInvalid, MoveNotAllowed, PatientNotLinked, PossibleDuplicate
from tandem_clinic.hub import journal
from tandem_clinic.store import episodes, referrals, worklist
from tandem_clinic.usecases import referrals as usecases
from tandem_clinic.usecases.incoming import Opened, entries_received, referral_changed
from tandem_platform.errors import Refusal
from tandem_platform.ids import new_id


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path)


def told(referral_id: str, state: str = "requested", version: int = 1, **more: Any) -> ReferralChanged:
    message = ReferralChanged(
        referral_id=referral_id,
        partnership_id=PARTNERSHIP,
        kind="medical-evaluation",
        urgency="soon",
        state=state,
        version=version,
        **{
            "referrer_practice_id": RIVERBEND,
            "recipient_practice_id": JUNIPER,
            "episode_id": "epi_" + referral_id[4:],
            "moved_by_practice_id": RIVERBEND if state == "requested" else JUNIPER,
            "closed_from": "received" if state == "declined" else "",
            **more,
        },
    )
    message.changed_at.FromDatetime(NOON + timedelta(minutes=version))
    return message


def hears(clinic: AClinic, message: ReferralChanged) -> None:
    with clinic.db.transaction() as tx:
        referral_changed(tx, clinic.clinic, message)


def inbound(clinic: AClinic) -> str:
    referral_id = new_id("ref")
    hears(clinic, told(referral_id))
    return referral_id


def receives_identity(clinic: AClinic, referral_id: str) -> None:
    labels = EntryLabels(
        entry_id=new_id("ent"), episode_id="epi_" + referral_id[4:], origin_practice_id=RIVERBEND
    )
    labels.category = CATEGORY_IDENTITY_CONTACT
    labels.authored_at.FromDatetime(NOON)
    released = EntryReleased(entry=SealedEntry(labels=labels), permission_id=new_id("perm"))
    with clinic.db.transaction() as tx:
        entries_received(tx, clinic.clinic, [Opened(released, to_json(an_identity()).encode(), "")])


def moves(clinic: AClinic, referral_id: str, move: Move, **details: str) -> None:
    with clinic.db.transaction() as tx:
        usecases.move_referral(tx, clinic.clinic, clinic.clinician, referral_id, move, **details)


def possible(clinic: AClinic, referral_id: str) -> set[str]:
    with clinic.db.transaction() as tx:
        return set(usecases.possible_moves(tx, clinic.clinic, referrals.get(tx, referral_id)))


def queued(clinic: AClinic) -> list[tuple[str, int]]:
    with clinic.db.reading() as tx:
        return [(command.name, command.request.version) for command in journal.queued(tx)]


def waiting(clinic: AClinic) -> list[str]:
    with clinic.db.reading() as tx:
        return [item.kind for item in worklist.waiting(tx, clinic.clinician)]


def test_an_inbound_referral_waits_on_the_worklist_and_its_delivery_is_proven(juniper):
    inbound(juniper)
    assert waiting(juniper) == ["inbound-referral"]
    assert queued(juniper) == [("ReceiveReferral", 1)]


def test_the_same_news_twice_changes_nothing(juniper):
    referral_id = inbound(juniper)
    hears(juniper, told(referral_id))
    assert queued(juniper) == [("ReceiveReferral", 1)]


def test_queued_moves_are_made_against_what_the_ones_before_will_have_made(juniper):
    referral_id = inbound(juniper)
    patient_id = juniper.registers()
    with juniper.db.transaction() as tx:
        usecases.take_in_referral(tx, juniper.clinic, juniper.clinician, referral_id, patient_id=patient_id)
    moves(juniper, referral_id, Move.ACCEPT)
    moves(juniper, referral_id, Move.START)
    assert queued(juniper) == [("ReceiveReferral", 1), ("AcceptReferral", 2), ("StartReferral", 3)]
    assert possible(juniper, referral_id) == {"hold", "complete", "fail", "open"}
    assert waiting(juniper) == []


def test_nobody_accepts_a_referral_that_is_nobodys_yet(juniper):
    referral_id = inbound(juniper)
    with pytest.raises(PatientNotLinked):
        moves(juniper, referral_id, Move.ACCEPT)


def test_a_referral_for_nobody_here_is_declined_without_a_patient(juniper):
    referral_id = inbound(juniper)
    with juniper.db.transaction() as tx:
        usecases.refuse_referral_as_not_ours(
            tx, juniper.clinic, juniper.clinician, referral_id, "out-of-scope"
        )
    assert queued(juniper)[-1] == ("DeclineReferral", 2)
    assert waiting(juniper) == []


def test_a_move_of_the_other_side_is_refused_with_what_is_possible(juniper):
    referral_id = inbound(juniper)
    with pytest.raises(MoveNotAllowed) as refused:
        moves(juniper, referral_id, Move.CANCEL, reason="duplicate")
    assert "decline" in refused.value.metadata["moves"]


@pytest.mark.parametrize(
    ("move", "details", "field"),
    [
        (Move.DECLINE, {}, "reason"),
        (Move.DECLINE, {"reason": "sent-in-error"}, "reason"),
        (Move.DECLINE, {"reason": "clinically-unsuitable"}, "comment"),
    ],
)
def test_a_reason_is_one_for_the_move_with_the_comment_that_it_needs(juniper, move, details, field):
    with pytest.raises(ContentInvalid) as refused:
        moves(juniper, inbound(juniper), move, **details)
    assert refused.value.field == field


def test_only_the_first_opening_is_told(juniper):
    referral_id = inbound(juniper)
    for _ in range(2):
        with juniper.db.transaction() as tx:
            usecases.open_referral(tx, juniper.clinic, juniper.clinician, referral_id)
    assert [name for name, _ in queued(juniper)] == ["ReceiveReferral", "OpenReferral"]


def test_older_news_changes_nothing(juniper):
    referral_id = inbound(juniper)
    hears(juniper, told(referral_id, "accepted", version=3))
    hears(juniper, told(referral_id, "received", version=2))
    with juniper.db.reading() as tx:
        assert referrals.get(tx, referral_id).state == "accepted"


def test_a_final_state_closes_the_episode_and_an_undo_opens_it_again(juniper):
    referral_id = inbound(juniper)
    hears(juniper, told(referral_id, "declined", version=3))
    assert waiting(juniper) == []
    with juniper.db.reading() as tx:
        assert not episodes.get(tx, "epi_" + referral_id[4:]).is_open
    assert possible(juniper, referral_id) == {"undo"}
    hears(juniper, told(referral_id, "received", version=4))
    with juniper.db.reading() as tx:
        assert episodes.get(tx, "epi_" + referral_id[4:]).is_open


def test_after_the_window_a_final_state_stays(juniper):
    referral_id = inbound(juniper)
    hears(juniper, told(referral_id, "declined", version=3))
    juniper.network.clock.advance(timedelta(minutes=20))
    assert possible(juniper, referral_id) == set()


def test_without_the_referrers_words_nobody_is_registered_from_a_referral(juniper):
    referral_id = inbound(juniper)
    with pytest.raises(Refusal) as refused, juniper.db.transaction() as tx:
        usecases.take_in_referral(tx, juniper.clinic, juniper.clinician, referral_id)
    assert refused.value.reason == "IDENTITY_NOT_RECEIVED"


def test_a_patient_like_a_known_one_is_not_registered_twice_by_a_referral(juniper):
    known = juniper.registers()
    referral_id = inbound(juniper)
    receives_identity(juniper, referral_id)
    with pytest.raises(PossibleDuplicate) as duplicate, juniper.db.transaction() as tx:
        usecases.take_in_referral(tx, juniper.clinic, juniper.clinician, referral_id)
    assert duplicate.value.metadata["candidates"] == known
    with juniper.db.transaction() as tx:
        made = usecases.take_in_referral(
            tx, juniper.clinic, juniper.clinician, referral_id, acknowledge_duplicates=True
        )
    assert made != known


def test_a_reroute_replaces_a_referral_of_ones_own_that_is_over(juniper):
    patient_id = juniper.registers()
    juniper.hub.answers["RequestReferral"] = confirmed

    def refers(**more: Any):
        with juniper.db.transaction() as tx:
            return usecases.request_referral(
                tx,
                juniper.clinic,
                juniper.clinician,
                patient_id,
                PARTNERSHIP,
                "psychotherapy",
                a_form(),
                **more,
            )

    first = refers()
    juniper.settles()
    with pytest.raises(Refusal) as refused:
        refers(replaces_referral_id=first.referral_id)
    assert refused.value.reason == "REPLACED_REFERRAL_OPEN"
    juniper.hub.answers["CancelReferral"] = lambda request: referral_pb2.CancelReferralResponse(
        referral=referral_pb2.Referral(referral_id=request.referral_id, state="cancelled", version=2)
    )
    moves(juniper, first.referral_id, Move.CANCEL, reason="chose-another-practice")
    juniper.settles()
    assert refers(replaces_referral_id=first.referral_id).episode_id != first.episode_id
