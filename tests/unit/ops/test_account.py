"""The operator's check: what the hub's database says, held against what a clinic kept."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, text, update

from support.hub import HubAlone, in_memory_key
from tandem.audit.v1.audit_pb2 import AuditRecord
from tandem_clinic.store import tables as clinic_tables
from tandem_ops.account import check_account, kept_by
from tandem_ops.cli import run
from tandem_ops.console import Exit
from tandem_platform.storage import Database
from tandem_referral.store import practices
from tandem_referral.store.tables import audit_record, audit_root


class Scene:
    """A hub with two partners and three published roots, and a clinic's database that kept them."""

    def __init__(self, directory):
        self.hub_url = f"sqlite:///{directory}/hub.db"
        self.clinic_file = directory / "clinic.db"
        self.key_file = directory / "at-rest.key"
        self.key_file.write_bytes(in_memory_key())
        self.hub = HubAlone(self.hub_url, directory)
        with self.hub.database.transaction() as tx:
            practices.add_bundle(tx, self.hub.keys.signed_bundle.to_message(), self.hub.now())
        self.member, _ = self.hub.two_partners()
        for _ in range(3):
            while self.hub.publisher.step():
                pass
            self.hub.clock.advance(timedelta(minutes=1))

    def keep(self):
        clinic = Database(f"sqlite:///{self.clinic_file}", clinic_tables.metadata)
        clinic.create_all()
        told = [body.audit_root_published for body in self.hub.downlink_of(self.member)]
        bundle = self.hub.keys.bundle
        pin = {"practice_id": "hub", "version": 1, "bundle": bundle.encoded, "pinned_at": self.hub.now()}
        with clinic.transaction() as tx:
            tx.execute(insert(clinic_tables.partner_key).values(pin))
            for root in (root for root in told if root.root):
                tx.execute(
                    insert(clinic_tables.audit_root).values(
                        tree_number=root.tree_number,
                        published_at=self.hub.now() - timedelta(minutes=4 - root.tree_number),
                        root=root.root,
                        signature=root.signature,
                        kept_at=self.hub.now(),
                    )
                )
        clinic.close()

    def findings(self, *sources):
        found = check_account(self.hub_url, self.key_file, [kept_by(source) for source in sources])
        return {finding.fault for finding in found}

    def tamper(self, statement):
        with self.hub.database.transaction() as tx:
            tx.execute(statement)


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    scene.keep()
    yield scene
    scene.hub.close()


def test_an_untouched_account_agrees_with_what_the_clinic_kept(scene):
    assert len(kept_by(str(scene.clinic_file)).roots) == 3
    assert scene.findings(str(scene.clinic_file)) == set()


def test_a_deleted_record_is_found(scene):
    scene.tamper(
        delete(audit_record).where(audit_record.c.chain == scene.member.id, audit_record.c.number == 1)
    )
    assert "out-of-sequence" in scene.findings(str(scene.clinic_file))


_CATEGORY_BELOW_ZERO = bytes([AuditRecord.CATEGORY_FIELD_NUMBER << 3]) + b"\xff" * 9 + b"\x01"
_FIRST = "UPDATE audit_record SET {} WHERE chain = 'hub' AND number = 1"


@pytest.mark.parametrize(
    "statement",
    [
        update(audit_record).where(audit_record.c.number == 1).values(record=b"\xff\xff"),
        update(audit_record).where(audit_record.c.number == 1).values(record=_CATEGORY_BELOW_ZERO),
        text(_FIRST.format("record = x'00'")),
        text(_FIRST.format("at = 9000000000000000000")),
        text(_FIRST.format("at = 'noon'")),
        text(_FIRST.format("number = -1")),
    ],
    ids=["no record", "no category", "not encrypted", "no time", "a word", "a number below zero"],
)
def test_a_record_that_cannot_even_be_read_is_a_finding_like_any_other(scene, statement):
    """Whoever tampers must not be able to end the check instead."""
    scene.tamper(statement)
    assert scene.findings(str(scene.clinic_file))


def test_what_the_clinic_kept_of_the_hub_was_altered(scene, capsys):
    clinic = Database(f"sqlite:///{scene.clinic_file}", clinic_tables.metadata)
    with clinic.transaction() as tx:
        tx.execute(update(clinic_tables.partner_key).values(bundle=b"x"))
    clinic.close()
    arguments = ["audit", "verify", "--hub-database", scene.hub_url, "--at-rest-key", str(scene.key_file)]
    assert run([*arguments, "--against", str(scene.clinic_file)]) == Exit.FINDING
    assert "altered" in capsys.readouterr().err


def test_a_root_that_the_hub_no_longer_has_is_found_only_against_what_was_kept(scene):
    scene.tamper(delete(audit_root).where(audit_root.c.tree_number == 2))
    assert scene.findings() == set()
    assert scene.findings(str(scene.clinic_file)) == {"tree-missing"}


def test_a_root_replaced_by_another_is_a_fork(scene):
    scene.tamper(update(audit_root).where(audit_root.c.tree_number == 3).values(root=bytes(32)))
    assert "forked" in scene.findings(str(scene.clinic_file))


def test_an_export_serves_as_well_as_the_database(scene, tmp_path, capsys):
    assert run(["audit", "export", str(scene.clinic_file)]) == Exit.OK
    export = tmp_path / "roots.json"
    export.write_text(capsys.readouterr().out)
    assert kept_by(str(export)).roots == kept_by(str(scene.clinic_file)).roots
    scene.tamper(delete(audit_root).where(audit_root.c.tree_number == 2))
    assert scene.findings(str(export)) == {"tree-missing"}


def test_the_command_says_what_it_found_and_fails(scene, capsys):
    arguments = ["audit", "verify", "--hub-database", scene.hub_url, "--at-rest-key", str(scene.key_file)]
    arguments += ["--against", str(scene.clinic_file), "--json"]
    assert run(arguments) == Exit.OK
    assert json.loads(capsys.readouterr().out) == {"findings": [], "roots": 3, "clinics": 1}
    scene.tamper(delete(audit_root).where(audit_root.c.tree_number == 2))
    assert run(arguments) == Exit.FINDING
    told = json.loads(capsys.readouterr().out)
    assert told["findings"] == [{"chain": "tree 2", "number": 0, "fault": "tree-missing"}]


def test_people_are_told_against_how_much_it_was_held(scene, capsys):
    arguments = ["audit", "verify", "--hub-database", scene.hub_url, "--at-rest-key", str(scene.key_file)]
    assert run([*arguments, "--against", str(scene.clinic_file)]) == Exit.OK
    assert "Held against 3 roots kept by 1 clinic." in capsys.readouterr().out


def test_another_key_than_the_hubs_is_told_from_a_changed_account(scene, tmp_path, capsys):
    other = tmp_path / "other.key"
    other.write_bytes(bytes(32))
    arguments = ["audit", "verify", "--hub-database", scene.hub_url, "--at-rest-key", str(other)]
    assert run(arguments) == Exit.USAGE
    assert "--at-rest-key" in (said := capsys.readouterr().err)
    assert "not the key of this hub" in said


@pytest.mark.parametrize(
    "statement",
    [
        update(audit_root).values(secret=b"other"),
        text("UPDATE audit_root SET secret = x'00'"),
        text("UPDATE audit_root SET published_at = 'noon'"),
        text("UPDATE audit_root SET root = 7"),
    ],
    ids=["another secret", "not encrypted", "no time", "a number"],
)
def test_a_root_that_cannot_even_be_read_is_a_finding_like_any_other(scene, statement):
    scene.tamper(statement)
    assert scene.findings()
    assert scene.findings(str(scene.clinic_file))


@pytest.mark.parametrize("wrong", ["hub.db", "text"])
def test_a_file_that_is_no_clinics_database_is_a_usage_fault_that_names_its_option(
    scene, tmp_path, wrong, capsys
):
    (tmp_path / "text").write_text("no database\n" * 99)
    arguments = ["audit", "verify", "--hub-database", scene.hub_url, "--at-rest-key", str(scene.key_file)]
    assert run([*arguments, "--against", str(tmp_path / wrong)]) == Exit.USAGE
    assert "--against" in (said := capsys.readouterr().err)
    assert "is not a clinic's database" in said


def test_a_clinics_database_is_not_taken_for_the_hubs(scene, capsys):
    hub = ["--hub-database", f"sqlite:///{scene.clinic_file}", "--at-rest-key", str(scene.key_file)]
    assert run(["audit", "verify", *hub]) == Exit.USAGE
    assert "--hub-database" in capsys.readouterr().err


def test_a_database_that_is_not_there_is_not_made(scene, tmp_path, capsys):
    missing = tmp_path / "none.db"
    hub = ["--hub-database", f"sqlite:///{missing}", "--at-rest-key", str(scene.key_file)]
    assert run(["audit", "verify", *hub]) == Exit.USAGE
    assert "is not there" in capsys.readouterr().err
    assert not missing.exists()


@pytest.mark.parametrize("hub", ["foo://", "://", "postgresql"])
def test_what_is_no_database_is_a_usage_fault_and_is_not_repeated(tmp_path, hub, capsys):
    key = tmp_path / "key"
    key.write_bytes(bytes(32))
    arguments = ["audit", "verify", "--at-rest-key", str(key)]
    assert run([*arguments, "--hub-database", f"{hub}secret"]) == Exit.USAGE
    assert run([*arguments, "--hub-database", "sqlite://", "--against", f"x{hub}secret://"]) == Exit.USAGE
    assert "secret" not in capsys.readouterr().err


def test_a_file_that_holds_no_at_rest_key_is_a_usage_fault(scene, tmp_path, capsys):
    key = tmp_path / "short.key"
    key.write_bytes(bytes(31))
    arguments = ["audit", "verify", "--hub-database", scene.hub_url, "--at-rest-key", str(key)]
    assert run(arguments) == Exit.USAGE
    assert "32 bytes" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["none.db", "none.json", "broken.json"])
def test_what_is_no_account_is_a_usage_fault(tmp_path, name, capsys):
    (tmp_path / "broken.json").write_text("{}")
    key = tmp_path / "key"
    key.write_bytes(bytes(32))
    hub = f"sqlite:///{tmp_path}/hub.db"
    against = str(tmp_path / name)
    arguments = ["audit", "verify", "--hub-database", hub, "--at-rest-key", str(key), "--against", against]
    assert run(arguments) == Exit.USAGE
