"""Terms of partnerships: proposed, read, accepted; the text never passes the hub."""

from datetime import timedelta

import pytest

from support.clinics import JUNIPER, PARTNERSHIP, RIVERBEND, AClinic, a_clinic
from support.sealing import NOON
from tandem.directory.v1 import directory_pb2 as pb
from tandem.exchange.v1.exchange_pb2 import PartnershipChanged, PracticeChanged
from tandem_care.terms import STANDARD, STANDARD_HASH, text_hash
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.store import partners, worklist
from tandem_clinic.usecases import agreements, partner
from tandem_clinic.usecases.agreements import NoTermsWait, TermsNotRead, TextIsOfOtherTerms
from tandem_clinic.usecases.incoming import practice_changed

OURS, THEIRS = "Our own terms", "Riverbend's terms"
OTHER = "pship_" + "b" * 26


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path)


def terms(number: int, text: str, by: str, *, accepted: bool = False) -> pb.Terms:
    made = pb.Terms(number=number, text_hash=text_hash(text), proposed_by_practice_id=by)
    made.proposed_at.FromDatetime(NOON)
    if accepted:
        made.accepted_at.FromDatetime(NOON + timedelta(hours=1))
    return made


def hears(juniper: AClinic, partnership_id: str = PARTNERSHIP, **told) -> None:
    fields = {"state": "active", "version": 3, "partner_practice_id": RIVERBEND, **told}
    with juniper.db.transaction() as tx:
        partner.partnership_changed(
            tx, juniper.clinic, PartnershipChanged(partnership_id=partnership_id, **fields)
        )


def does(juniper: AClinic, work, *args):
    return juniper.db.run(lambda tx: work(tx, juniper.clinic, juniper.clinician, *args))


def seen(juniper: AClinic, partnership_id: str = PARTNERSHIP) -> list[tuple[int, str, str | None]]:
    found = juniper.db.run(lambda tx: agreements.read_terms(tx, juniper.clinician, partnership_id))
    return [(each.number, each.state, each.text) for each in found]


def waits(juniper: AClinic) -> list[str]:
    items = juniper.db.run(lambda tx: worklist.waiting(tx, juniper.clinician))
    return [item.subject_id for item in items if item.kind == agreements.TERMS_WAIT]


@pytest.mark.parametrize(("given", "proposed"), [(None, STANDARD), (OURS, OURS)])
def test_a_partnership_is_proposed_with_terms(juniper, given, proposed):
    asked = does(juniper, partner.propose_partnership, pb.Practice(practice_id="prac_alder"), given)
    juniper.settles()
    (name, request) = juniper.hub.commands[0]
    assert (name, request.terms_hash) == ("ProposePartnership", text_hash(proposed))
    assert proposed.encode() not in request.SerializeToString()
    hears(
        juniper,
        asked.subject_id,
        state="proposed",
        partner_practice_id="prac_alder",
        proposed_terms=terms(1, proposed, JUNIPER),
    )
    assert seen(juniper, asked.subject_id) == [(1, "waiting", proposed)]
    assert waits(juniper) == []


def invited(juniper: AClinic, text: str) -> None:
    """Riverbend proposes; its fingerprint has been confirmed."""
    proposed = terms(1, text, RIVERBEND)
    hears(juniper, OTHER, state="proposed", version=1, proposed_terms=proposed)
    with juniper.db.transaction() as tx:
        partners.change(tx, OTHER, fingerprint_confirmed_at=NOON)


def test_standard_terms_are_read_and_accepted_with_the_partnership(juniper):
    invited(juniper, STANDARD)
    assert seen(juniper, OTHER) == [(1, "waiting", STANDARD)]
    assert waits(juniper) == [OTHER]
    does(juniper, partner.confirm_partnership, OTHER)
    juniper.settles()
    (name, request) = juniper.hub.commands[0]
    assert (name, request.terms_hash) == ("ConfirmPartnership", STANDARD_HASH)
    hears(juniper, OTHER, version=2, terms=terms(1, STANDARD, RIVERBEND, accepted=True))
    assert seen(juniper, OTHER) == [(1, "in-force", STANDARD)]
    assert waits(juniper) == []


def test_terms_that_nobody_here_could_read_are_not_accepted(juniper):
    invited(juniper, THEIRS)
    assert seen(juniper, OTHER) == [(1, "waiting", None)]
    with pytest.raises(TermsNotRead):
        does(juniper, partner.confirm_partnership, OTHER)
    with pytest.raises(TextIsOfOtherTerms):
        does(juniper, agreements.hand_in_text, OTHER, THEIRS + " ")
    does(juniper, agreements.hand_in_text, OTHER, THEIRS)
    assert seen(juniper, OTHER) == [(1, "waiting", THEIRS)]
    does(juniper, partner.confirm_partnership, OTHER)


def test_ours_wait_for_the_partner(juniper):
    hears(juniper, terms=terms(1, STANDARD, JUNIPER, accepted=True))
    does(juniper, agreements.propose_terms, PARTNERSHIP, OURS)
    juniper.settles()
    (name, request) = juniper.hub.commands[0]
    assert (name, request.version, request.terms_hash) == ("ProposeTerms", 3, text_hash(OURS))
    hears(
        juniper,
        version=4,
        terms=terms(1, STANDARD, JUNIPER, accepted=True),
        proposed_terms=terms(2, OURS, JUNIPER),
    )
    assert seen(juniper) == [(2, "waiting", OURS), (1, "in-force", STANDARD)]
    assert waits(juniper) == []
    with pytest.raises(NoTermsWait):
        does(juniper, agreements.accept_terms, PARTNERSHIP, 2)
    hears(juniper, version=5, terms=terms(2, OURS, JUNIPER, accepted=True))
    assert seen(juniper) == [(2, "in-force", OURS), (1, "past", STANDARD)]


def test_only_the_terms_that_were_read_are_accepted(juniper):
    first = terms(1, STANDARD, JUNIPER, accepted=True)
    hears(juniper, terms=first, proposed_terms=terms(2, THEIRS, RIVERBEND))
    does(juniper, agreements.hand_in_text, PARTNERSHIP, THEIRS)
    hears(juniper, version=4, terms=first, proposed_terms=terms(3, "Newer", RIVERBEND))
    with pytest.raises(NoTermsWait):
        does(juniper, agreements.accept_terms, PARTNERSHIP, 2)
    with pytest.raises(TermsNotRead):
        does(juniper, agreements.accept_terms, PARTNERSHIP, 3)
    does(juniper, agreements.hand_in_text, PARTNERSHIP, "Newer")
    does(juniper, agreements.accept_terms, PARTNERSHIP, 3)
    juniper.settles()
    (name, request) = juniper.hub.commands[0]
    assert (name, request.terms_hash) == ("AcceptTerms", text_hash("Newer"))
    assert seen(juniper) == [(3, "waiting", "Newer"), (2, "past", THEIRS), (1, "in-force", STANDARD)]


def test_older_news_takes_no_acceptance_back(juniper):
    hears(juniper, terms=terms(1, STANDARD, JUNIPER, accepted=True))
    hears(juniper, proposed_terms=terms(1, STANDARD, JUNIPER))
    assert seen(juniper) == [(1, "in-force", STANDARD)]


@pytest.mark.parametrize("text", ["", "  \n", "x" * 50_001])
def test_a_text_that_says_nothing_or_too_much_is_refused(juniper, text):
    with pytest.raises(ContentInvalid) as refused:
        does(juniper, agreements.propose_terms, PARTNERSHIP, text)
    assert refused.value.field == "text"


def test_a_partners_sites_are_kept_for_when_the_hub_is_away(juniper):
    site = pb.Site(name="Downtown", contact_phone="+1 503 555 0120", on_call_phone="+1 503 555 0121")
    practice = pb.Practice(practice_id=RIVERBEND, display_name="Riverbend", sites=[site])
    juniper.hub.answers["GetPractice"] = lambda request: pb.GetPracticeResponse(practice=practice)
    partner.refresh_profile(juniper.clinic, RIVERBEND)
    juniper.hub.away = True
    with juniper.db.reading() as tx:
        (kept,) = partners.get(tx, PARTNERSHIP).partner_sites
    assert (kept["name"], kept["on_call_phone"]) == ("Downtown", "+1 503 555 0121")


def test_news_of_a_profile_that_comes_while_an_older_one_is_fetched_is_not_lost(juniper):
    def wanted() -> list[str]:
        with juniper.db.reading() as tx:
            return [item.facts["version"] for item in worklist.of_service(tx, [partner.PROFILE_WANTED])]

    def hears_that_it_changed(version: int) -> None:
        with juniper.db.transaction() as tx:
            practice_changed(tx, juniper.clinic, PracticeChanged(practice_id=RIVERBEND, version=version))

    def answered_late(_: object) -> pb.GetPracticeResponse:
        hears_that_it_changed(3)
        return pb.GetPracticeResponse(practice=pb.Practice(practice_id=RIVERBEND, version=2))

    hears_that_it_changed(2)
    juniper.hub.answers["GetPractice"] = answered_late
    partner.refresh_profile(juniper.clinic, RIVERBEND)
    assert wanted() == ["3"]
    third = pb.Practice(practice_id=RIVERBEND, version=3)
    juniper.hub.answers["GetPractice"] = lambda request: pb.GetPracticeResponse(practice=third)
    partner.refresh_profile(juniper.clinic, RIVERBEND)
    assert wanted() == []
