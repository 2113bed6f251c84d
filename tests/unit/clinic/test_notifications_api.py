"""How people say how they want to be told."""

import pytest

from support.clinics import AClinic, a_clinic
from tandem_clinic.domain.staff import Role
from tandem_clinic.http.app import create_app
from tandem_clinic.http.entrance import Entrance
from tandem_clinic.store import notices, staff

WANTED = {
    "channels": [{"channel": "email", "address": "kim@juniper.test"}],
    "time_zone": "America/Denver",
    "quiet_from": "21:00",
    "quiet_until": "07:00",
}


class Person:
    def __init__(self, juniper: AClinic, app, role: Role) -> None:
        self._client = app.test_client()
        with juniper.db.transaction() as tx:
            self.staff_id = staff.add(tx, "Somebody", frozenset({role}), juniper.clinic.now()).staff_id
            self._token = staff.issue_token(tx, self.staff_id, juniper.clinic.now())

    def call(self, method: str, path: str, body=None):
        headers = {"Authorization": f"Bearer {self._token}"}
        return self._client.open(f"/api/v1{path}", method=method, json=body, headers=headers)

    def wants(self, staff_id: str | None = None, **more: object):
        return self.call("PUT", f"/staff/{staff_id or self.staff_id}/notifications", WANTED | more)


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path)


@pytest.fixture
def hired(juniper: AClinic):
    app = create_app(Entrance(juniper.clinic, juniper.journal, dict))
    return lambda role=Role.COORDINATOR: Person(juniper, app, role)


def test_what_one_wants_is_what_one_reads(hired) -> None:
    kim = hired()
    assert kim.wants().status_code == 200
    read = kim.call("GET", f"/staff/{kim.staff_id}/notifications").json
    assert {name: read[name] for name in WANTED} == WANTED


def test_only_an_administrator_says_it_for_others(hired) -> None:
    kim, sam, chief = hired(), hired(), hired(Role.ADMIN)
    assert kim.wants(sam.staff_id).status_code == 403
    assert chief.wants(sam.staff_id).status_code == 200
    assert kim.call("GET", f"/staff/{sam.staff_id}/notifications").status_code == 403


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", [{"channel": "email", "address": "kim@juniper.test\r\nBcc: eve@example.test"}]),
        ("channels", [{"channel": "email", "address": "kim"}]),
        ("channels", [{"channel": "sms", "address": "https://example.test"}]),
        ("channels", [{"channel": "pigeon", "address": "kim"}]),
        ("channels", []),
        ("time_zone", "Mars/Olympus"),
        ("cover_staff_id", "staff_nobody"),
        ("quiet_from", "25:00"),
    ],
)
def test_what_cannot_be_is_refused(hired, field: str, value: object) -> None:
    assert 400 <= hired().wants(**{field: value}).status_code < 500


def test_nobody_is_their_own_cover(hired) -> None:
    kim = hired()
    assert kim.wants(cover_staff_id=kim.staff_id).status_code == 422


def test_a_bounce_is_noted_by_a_system_and_nobody_else(hired, juniper: AClinic) -> None:
    kim, mailbox = hired(), hired(Role.INTEGRATION)
    with juniper.db.transaction() as tx:
        sent = notices.write(tx, kim.staff_id, "email", "kim@juniper.test", 1, juniper.clinic.now())
        notices.mark_sent(tx, sent, juniper.clinic.now())
    assert kim.call("POST", f"/notifications/{sent}/bounced").status_code == 403
    assert mailbox.call("POST", f"/notifications/{sent}/bounced").json["state"] == "bounced"
    assert mailbox.call("POST", "/notifications/msg_none/bounced").status_code == 404
