"""A partnership is active while both sides want it to be."""

import pytest

from tandem_platform.errors import Code
from tandem_referral.domain.partnership import (
    Partnership,
    PartnershipMoveNotAllowed,
    PartnershipState,
    StalePartnership,
)

ACTIVE, SUSPENDED = PartnershipState.ACTIVE, PartnershipState.SUSPENDED


def a_partnership(*, active: bool = True) -> Partnership:
    partnership = Partnership(id="pship", proposer="juniper", partner="riverbend")
    if active:
        partnership.confirm("riverbend", 1)
    return partnership


def test_the_practice_that_was_asked_makes_it_active():
    partnership = a_partnership(active=False)
    with pytest.raises(PartnershipMoveNotAllowed):
        partnership.confirm("juniper", 1)
    partnership.confirm("riverbend", 1)
    assert (partnership.state, partnership.version) == (ACTIVE, 2)


def test_repeating_a_step_changes_nothing_whatever_version_it_names():
    partnership = a_partnership()
    partnership.confirm("riverbend", 1)
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
