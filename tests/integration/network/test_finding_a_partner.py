"""From a profile to a partnership: through two clinics' REST APIs and a real hub, on the databases of the stack."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from support.network import Network, SimulatedClinic
from support.stacks import DatabaseOf
from tandem_clinic.domain.staff import Role
from tandem_clinic.http.app import create_app
from tandem_clinic.http.entrance import Entrance
from tandem_clinic.store import staff
from tandem_referral.store.tables import metadata as hub_metadata

PROFILE: dict[str, Any] = {
    "version": 1,
    "display_name": "Riverbend Therapy",
    "npi": "1234567893",
    "licence_states": ["CO", "NM"],
    "modalities": ["emdr", "trauma-informed"],
    "age_groups": ["adult"],
    "languages": ["en", "es-MX"],
    "kap_trainings": [{"program": "KAP", "hours": 120}],
    "services": [
        {
            "service": "integration-session",
            "payments": ["in-network", "sliding-scale"],
            "lowest_price": 90,
            "highest_price": 180,
        }
    ],
    "sites": [
        {"name": "North", "on_call_phone": "+1 303 555 0121", "access": ["step-free", "quiet-room"]},
        {"name": "South", "on_call_phone": "+1 303 555 0122"},
    ],
}


@pytest.fixture
def network(tmp_path: Path, database_of: DatabaseOf) -> Iterator[Network]:
    made = Network(tmp_path, database_of)
    yield made
    made.close()


class Desk:
    """A coordinator at a clinic's API."""

    def __init__(self, clinic: SimulatedClinic) -> None:
        self.clinic = clinic
        app = create_app(Entrance(clinic.clinic, clinic.node.journal, dict))
        self._client: FlaskClient = app.test_client()
        with clinic.db.transaction() as tx:
            member = staff.add(tx, "Noor", frozenset({Role.COORDINATOR}), clinic.clinic.now())
            self._token = staff.issue_token(tx, member.staff_id, clinic.clinic.now())

    def asks(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = self._client.open(f"/api/v1{path}", method=method, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json

    def finds(self, **needs: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.asks("POST", "/directory/search", needs)["matches"]
        return found


@pytest.fixture
def desk_of(network: Network) -> Callable[[str, str], Desk]:
    return lambda name, role: Desk(network.clinic(name, role))


@pytest.fixture
def juniper(desk_of: Callable[[str, str], Desk]) -> Desk:
    return desk_of("juniper", "prescriber")


@pytest.fixture
def riverbend(network: Network, desk_of: Callable[[str, str], Desk]) -> Desk:
    made = desk_of("riverbend", "therapy_provider")
    assert made.asks("PUT", "/profile", PROFILE)["confirmed"]
    soon = (network.clock.now() + timedelta(days=3)).isoformat()
    opening = {"at": soon, "service": "integration-session"}
    made.asks("PUT", "/capacity", {"openings": 2, "next_openings": [opening]})
    return made


def test_what_a_practice_says_of_itself_is_found_with_reasons(
    network: Network, juniper: Desk, riverbend: Desk, desk_of: Callable[[str, str], Desk]
) -> None:
    desk_of("alder", "therapy_provider")
    network.advance(3 * 3600)
    required = {"role": "therapy_provider"}
    preferred = {
        "licence_state": "CO",
        "languages": ["es"],
        "service": "integration-session",
        "payments": ["in-network"],
        "price_at_most": 100,
        "access": ["step-free"],
        "modalities": ["emdr", "exposure"],
    }
    best, second = juniper.finds(required=required, preferred=preferred)
    assert best["practice"]["display_name"] == "Riverbend Therapy"
    assert best["practice"]["capacity"]["age_minutes"] >= 180
    assert [site["on_call_phone"] for site in best["practice"]["sites"]] == [
        "+1 303 555 0121",
        "+1 303 555 0122",
    ]
    words = [each["said"] for each in best["reasons"] if each["met"]]
    assert {"speaks es", "is licensed in CO", "offers EMDR", "has an opening within two weeks"} <= set(words)
    assert best["score"] == sum(each["points"] for each in best["reasons"])
    assert second["score"] == 0
    assert juniper.finds(required={**required, "access": ["step-free", "sign-language"]}) == []
    assert riverbend.asks("GET", "/profile")["version"] == 2


def test_openings_grow_old_by_themselves(network: Network, juniper: Desk, riverbend: Desk) -> None:
    assert juniper.finds(required={"openings": True})
    network.advance(49 * 3600)
    assert juniper.finds(required={"openings": True}) == []
    (found,) = juniper.finds(required={"modalities": ["emdr"]})
    assert found["practice"]["capacity"]["stale"]


def test_two_practices_agree_on_keys_and_terms(network: Network, juniper: Desk, riverbend: Desk) -> None:
    terms = "We answer each other within a day."
    asked = juniper.asks("POST", "/partners", {"practice_id": "riverbend", "terms": terms})
    pship = f"/partners/{asked['partnership_id']}"
    network.settle()
    for one, other in ((juniper, riverbend), (riverbend, juniper)):
        digits = other.asks("GET", f"{pship}/fingerprints")["own"]
        one.asks("POST", f"{pship}/fingerprint", {"digits": digits})
    (waiting,) = riverbend.asks("GET", f"{pship}/terms")
    assert (waiting["state"], waiting["text"], waiting["proposed_by_us"]) == ("waiting", None, False)
    riverbend.asks("POST", f"{pship}/terms/text", {"text": terms})
    riverbend.asks("POST", f"{pship}/confirm")
    network.settle()
    for each in (juniper, riverbend):
        (agreed,) = each.asks("GET", f"{pship}/terms")
        assert (agreed["state"], agreed["text"]) == ("in-force", terms)
        (known,) = each.asks("GET", "/partners")
        assert known["state"] == "active"
    (theirs,) = juniper.asks("GET", "/partners")
    assert [site["name"] for site in theirs["partner_sites"]] == ["North", "South"]
    _amends(network, riverbend, juniper, pship)
    moved = {"name": "West", "on_call_phone": "+1 303 555 0199"}
    riverbend.asks("PUT", "/profile", PROFILE | {"version": 2, "sites": [moved]})
    network.settle()
    (theirs,) = juniper.asks("GET", "/partners")
    assert [(site["name"], site["on_call_phone"]) for site in theirs["partner_sites"]] == [
        tuple(moved.values())
    ]


def _amends(network: Network, one: Desk, other: Desk, pship: str) -> None:
    better = "We answer each other within an hour."
    one.asks("POST", f"{pship}/terms", {"text": better})
    network.settle()
    assert [item["kind"] for item in other.asks("GET", "/worklist")].count("terms-proposed") == 1
    other.asks("POST", f"{pship}/terms/text", {"text": better})
    other.asks("POST", f"{pship}/terms/accept", {"number": 2})
    network.settle()
    for each in (one, other):
        states = [(terms["number"], terms["state"]) for terms in each.asks("GET", f"{pship}/terms")]
        assert states == [(2, "in-force"), (1, "past")]
    assert "terms-proposed" not in {item["kind"] for item in other.asks("GET", "/worklist")}


def test_a_practice_is_considered_for_a_patient_and_nobody_else_knows(
    network: Network, juniper: Desk, riverbend: Desk
) -> None:
    patient_id = juniper.clinic.registers()
    network.settle()
    (found,) = juniper.finds(required={"modalities": ["emdr"]})
    before = dump(network)
    item = {
        "practice_id": found["practice"]["practice_id"],
        "display_name": found["practice"]["display_name"],
        "place": 1,
        "reasons": [each["said"] for each in found["reasons"] if each["met"]],
        "note": "Her sister goes there.",
    }
    juniper.asks("PUT", f"/patients/{patient_id}/shortlist", item)
    (listed,) = juniper.asks("GET", f"/patients/{patient_id}/shortlist")
    assert {name: listed[name] for name in item} == item
    assert dump(network) == before
    assert (
        juniper.asks("POST", f"/patients/{patient_id}/shortlist/remove", {"practice_id": "riverbend"}) == []
    )


def dump(network: Network) -> list[str]:
    """Every row of the hub's tables."""
    with network.hub.database.reading() as tx:
        return [str(tx.all(select(table))) for table in hub_metadata.sorted_tables]
