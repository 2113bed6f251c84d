"""A partnership is active while both sides want it to be."""

import pytest

from support.sealing import NOON
from tandem_platform.errors import Code
from tandem_referral.domain.partnership import (
    Partnership,
    PartnershipMoveNotAllowed,
    PartnershipState,
    StalePartnership,
    Terms,
    TermsDiffer,
)

FIRST, SECOND = bytes(32), bytes([1]) * 32
ACTIVE, SUSPENDED = PartnershipState.ACTIVE, PartnershipState.SUSPENDED


def a_partnership(*, active: bool = True) -> Partnership:
    terms = Terms(number=1, text_hash=FIRST, proposed_by="juniper", proposed_at=NOON)
    partnership = Partnership(id="pship", proposer="juniper", partner="riverbend", proposed_terms=terms)
    if active:
        partnership.confirm("riverbend", 1, FIRST, NOON)
    return partnership


def test_the_practice_that_was_asked_makes_it_active():
    partnership = a_partnership(active=False)
    with pytest.raises(PartnershipMoveNotAllowed):
        partnership.confirm("juniper", 1, FIRST, NOON)
    partnership.confirm("riverbend", 1, FIRST, NOON)
    assert (partnership.state, partnership.version) == (ACTIVE, 2)


def test_repeating_a_step_changes_nothing_whatever_version_it_names():
    partnership = a_partnership()
    partnership.confirm("riverbend", 1, FIRST, NOON)
    partnership.resume("juniper", 1)
    assert partnership.version == 2
    partnership.suspend("juniper")
    partnership.suspend("juniper")
    assert (partnership.state, partnership.version) == (SUSPENDED, 3)


def test_each_side_takes_back_its_own_suspension_only():
    partnership = a_partnership()
    partnership.suspend("juniper")
    with pytest.raises(PartnershipMoveNotAllowed):
        partnership.resume("riverbend", 3)
    partnership.suspend("riverbend")
    partnership.resume("juniper", 4)
    assert partnership.state is SUSPENDED
    partnership.resume("riverbend", 5)
    assert partnership.state is ACTIVE


def test_a_proposal_is_not_suspended():
    with pytest.raises(PartnershipMoveNotAllowed):
        a_partnership(active=False).suspend("riverbend")


def test_stopping_is_never_too_late():
    partnership = a_partnership()
    partnership.suspend("riverbend")
    partnership.suspend("juniper")
    assert partnership.suspended_by == {"juniper", "riverbend"}


def test_a_step_from_an_older_version_may_be_tried_again():
    partnership = a_partnership()
    partnership.suspend("juniper")
    with pytest.raises(StalePartnership) as stale:
        partnership.resume("juniper", 1)
    assert stale.value.code is Code.ABORTED
    assert stale.value.is_transient()


def test_a_partnership_begins_with_the_terms_that_were_proposed():
    partnership = a_partnership(active=False)
    with pytest.raises(TermsDiffer):
        partnership.confirm("riverbend", 1, SECOND, NOON)
    assert partnership.state is PartnershipState.PROPOSED
    partnership.confirm("riverbend", 1, FIRST, NOON)
    assert partnership.terms is not None
    assert (partnership.terms.number, partnership.terms.accepted_at) == (1, NOON)
    assert partnership.proposed_terms is None


def test_terms_stay_in_force_until_the_other_side_accepts_new_ones():
    partnership = a_partnership()
    partnership.propose_terms("riverbend", 2, SECOND, NOON)
    partnership.propose_terms("riverbend", 2, SECOND, NOON)
    assert partnership.terms is not None
    assert (partnership.terms.text_hash, partnership.version) == (FIRST, 3)
    with pytest.raises(PartnershipMoveNotAllowed):
        partnership.accept_terms("riverbend", 3, SECOND, NOON)
    partnership.accept_terms("juniper", 3, SECOND, NOON)
    partnership.accept_terms("juniper", 3, SECOND, NOON)
    assert (partnership.terms.text_hash, partnership.terms.number, partnership.version) == (SECOND, 2, 4)


def test_terms_that_were_replaced_while_they_waited_are_not_accepted():
    partnership = a_partnership()
    partnership.propose_terms("riverbend", 2, SECOND, NOON)
    partnership.propose_terms("juniper", 3, bytes([2]) * 32, NOON)
    with pytest.raises(TermsDiffer):
        partnership.accept_terms("riverbend", 4, SECOND, NOON)
    with pytest.raises(StalePartnership):
        partnership.accept_terms("riverbend", 2, bytes([2]) * 32, NOON)


def test_terms_of_a_proposal_are_not_changed_but_by_another_proposal():
    with pytest.raises(PartnershipMoveNotAllowed):
        a_partnership(active=False).propose_terms("juniper", 1, SECOND, NOON)
    with pytest.raises(PartnershipMoveNotAllowed):
        a_partnership(active=False).accept_terms("riverbend", 1, FIRST, NOON)
