"""The hub's account held against what its clinics kept: signed roots, and the hub's key as they pinned it."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import LargeBinary, func, literal, select, type_coerce

from tandem.exchange.v1.exchange_pb2 import AuditRootPublished
from tandem_clinic.store import tables as clinic_tables
from tandem_ops.console import Exit, Stop
from tandem_ops.opening import opened
from tandem_platform.audit.chain import Finding
from tandem_platform.exchange.signing import HUB
from tandem_platform.sealing import BundleForged, KeyBundle
from tandem_platform.storage import Transaction, at_rest
from tandem_referral.store import keys
from tandem_referral.store.tables import audit_record, audit_root
from tandem_referral.store.tables import metadata as hub_metadata
from tandem_referral.usecases.audit import verify


@dataclass(frozen=True)
class Kept:
    """What one clinic holds of the hub. *hub* is None where the clinic has not met the hub yet."""

    source: str
    hub: KeyBundle | None
    roots: tuple[AuditRootPublished, ...]

    def to_json(self) -> dict[str, Any]:
        """Nothing in it is secret, and nothing is about a patient."""
        return {
            "hub_key": "" if self.hub is None else _text(self.hub.encoded),
            "roots": [
                {
                    "tree_number": root.tree_number,
                    "published_at": root.published_at.ToJsonString(),
                    "root": _text(root.root),
                    "signature": _text(root.signature),
                }
                for root in self.roots
            ],
        }


def kept_by(source: str, option: str = "--against") -> Kept:
    """From a clinic's database (a URL, or the path of an SQLite file) or from an export of it (a .json file)."""
    if source.endswith(".json"):
        return _from_export(Path(source), option)
    if "://" not in source and not Path(source).is_file():
        raise Stop(
            Exit.USAGE,
            f"{option}: {source} is not there",
            "name a clinic's database, or an export of it ending in .json",
        )
    url = source if "://" in source else f"sqlite:///{Path(source).resolve()}"
    roots, pins = clinic_tables.audit_root, clinic_tables.partner_key
    with opened(option, url, clinic_tables.metadata, "a clinic's") as database, database.reading() as tx:
        found = tx.all(select(roots).order_by(roots.c.tree_number))
        pin = tx.first(
            select(pins.c.bundle).where(pins.c.practice_id == HUB).order_by(pins.c.version.desc()).limit(1)
        )
    try:
        hub = None if pin is None else KeyBundle.decoded(pin.bundle)
        return Kept(repr(database.url), hub, tuple(_root(row._mapping) for row in found))
    except _NOT_KEPT as broken:
        raise Stop(
            Exit.FINDING, f"what {database.url!r} kept of the hub was altered", "restore it from a backup"
        ) from broken


def check_account(hub_database: str, at_rest_key: Path, against: Sequence[Kept]) -> list[Finding]:
    """Everything about the hub's account that is not as it was written, as far as *against* can tell."""
    pinned = [kept.hub for kept in against if kept.hub is not None]
    findings = [
        Finding(kept.source, 0, "knows-the-hub-by-another-key")
        for kept in against
        if kept.hub is not None and kept.hub.signing_key(1) != pinned[0].signing_key(1)
    ]
    with (
        opened("--hub-database", hub_database, hub_metadata, "the hub's") as database,
        database.reading() as tx,
    ):
        _install_key(tx, at_rest_key)
        # The newest of the pinned bundles carries every key before it.
        hub = max(pinned, key=lambda bundle: bundle.version) if pinned else keys.newest(tx, HUB)
        if hub is None:
            raise Stop(Exit.USAGE, "this hub has no key yet", "start it once")
        return findings + verify(tx, hub, [root for kept in against for root in kept.roots])


def _install_key(tx: Transaction, at_rest_key: Path) -> None:
    """Under another hub's every record would be a finding, and none of them true. Raises Stop."""
    key = at_rest_key.read_bytes()
    try:
        ours = at_rest.name_of(key)
    except ValueError as unfit:
        raise Stop(Exit.USAGE, f"--at-rest-key {at_rest_key}: {unfit}", "name the hub's own") from None
    is_something = opens_something = False
    for column in (audit_record.c.record, audit_root.c.secret):
        rows = select(literal(1)).select_from(column.table).limit(1)
        named = func.substr(type_coerce(column, LargeBinary), 1, len(ours))
        is_something |= tx.first(rows) is not None
        opens_something |= tx.first(rows.where(named == ours)) is not None
    if is_something and not opens_something:
        raise Stop(
            Exit.USAGE,
            f"--at-rest-key {at_rest_key} is not the key of this hub's database: it opens nothing there",
            "name the hub's own, at-rest.key in its directory",
        )
    at_rest.install(key)


_NOT_KEPT = (BundleForged, ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What comes of reading as kept roots what is something else."""


def _from_export(path: Path, option: str) -> Kept:
    try:
        document = json.loads(path.read_text())
        hub = KeyBundle.decoded(base64.b64decode(document["hub_key"])) if document["hub_key"] else None
        roots = tuple(
            _root(
                {
                    "tree_number": each["tree_number"],
                    "published_at": datetime.fromisoformat(each["published_at"]).astimezone(UTC),
                    "root": base64.b64decode(each["root"]),
                    "signature": base64.b64decode(each["signature"]),
                }
            )
            for each in document["roots"]
        )
    except OSError as absent:
        raise Stop(Exit.USAGE, f"{option} {path}: {absent.strerror}") from None
    except _NOT_KEPT as broken:
        raise Stop(
            Exit.USAGE,
            f"{option} {path} is not an export of kept roots",
            "make one with: tandem audit export CLINIC_DATABASE",
        ) from broken
    return Kept(str(path), hub, roots)


def _root(row: Any) -> AuditRootPublished:
    message = AuditRootPublished(tree_number=row["tree_number"], root=row["root"], signature=row["signature"])
    message.published_at.FromDatetime(row["published_at"])
    return message


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
