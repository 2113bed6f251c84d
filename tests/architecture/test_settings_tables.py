"""Each service's README says exactly which settings it has."""

from pathlib import Path
from typing import Any

import pytest

from tandem_clinic.settings import ClinicSettings
from tandem_platform.settings import documented
from tandem_referral.settings import HubSettings

ROOT = Path(__file__).resolve().parents[2]
UNSET = ("()", "None", "")


@pytest.mark.parametrize(
    ("service", "settings"),
    [("referral", HubSettings), ("prescriber", ClinicSettings), ("therapy_provider", ClinicSettings)],
)
def test_the_table_of_settings_is_the_codes(service: str, settings: type[Any]) -> None:
    lines = (ROOT / "services" / service / "README.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("| `TANDEM_")]
    expected = [
        f"| `{each.name}` | {'unset' if each.default in UNSET else each.default} | {each.meaning} |"
        for each in documented(settings)
    ]
    assert table == expected
