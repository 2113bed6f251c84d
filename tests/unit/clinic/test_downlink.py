"""Rows of a downlink before they take effect."""

import pytest

from support.clinics import a_clinic
from tandem.exchange.v1.exchange_pb2 import RowBody
from tandem_clinic.exchange.downlink import DownlinkHandler
from tandem_platform.ids import new_id


@pytest.mark.parametrize(
    "unfit",
    ["epi_\0" + "a" * 25, "", "x" * 100_000, "ent_" + "a" * 26],
    ids=["no text", "nothing", "too long", "of an entry"],
)
def test_an_episode_that_is_none_parks_nobody(tmp_path, unfit):
    """A row is parked under its episode's id, and no database keeps every text."""
    handler = DownlinkHandler(a_clinic(tmp_path).clinic)
    body, fit = RowBody(), new_id("epi")
    body.entry_released.entry.labels.episode_id = unfit
    assert handler.episode_of(body) is None
    body.entry_released.entry.labels.episode_id = fit
    assert handler.episode_of(body) == fit
