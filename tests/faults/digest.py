"""What a schedule came to, as one hash: two runs of one seed must agree in it."""

import hashlib

from faults.stage import NAMES, FailingNetwork
from sqlalchemy import select

_SAID = {
    "hub": {
        "entry": ("entry_id", "episode_id", "origin_practice_id", "uplink_sequence"),
        "release": ("entry_id", "recipient_practice_id", "result", "rule", "permission_id"),
        "permission": ("permission_id", "version", "state"),
        "referral": ("referral_id", "state", "version"),
        "exchange_log": ("log", "sequence", "epoch", "void_reason", "entry_id", "permission_id"),
        "exchange_cursor": ("log", "sequence", "epoch", "stopped"),
        "audit_head": ("chain", "number"),
    },
    "clinic": {
        "received_entry": ("entry_id", "state", "permission_id"),
        "own_entry": ("record_id", "state"),
        "sealed_entry": ("entry_id", "record_id"),
        "hub_referral": ("referral_id", "state", "version"),
        "command": ("request_id", "method", "state"),
        "exchange_log": ("log", "sequence", "epoch", "void_reason", "entry_id"),
        "exchange_cursor": ("log", "sequence", "epoch", "stopped"),
        "worklist_item": ("kind", "subject_id"),
    },
}
"""What is compared: neither keys nor what keys made, which are new in every run, nor times of day."""


def digest_of(network: FailingNetwork) -> str:
    """One hash over what all databases say, and over what the faults did."""
    digest = hashlib.sha256()
    for name in ("hub", *NAMES):
        database = network.hub.database if name == "hub" else network.clinics[name].db
        for table, columns in _SAID["hub" if name == "hub" else "clinic"].items():
            found = database.metadata.tables[table]
            with database.reading() as tx:
                rows = sorted(
                    repr(tuple(row)) for row in tx.all(select(*(found.c[each] for each in columns)))
                )
            digest.update(f"{name} {table} {rows}".encode())
    digest.update(repr(sorted(network.effects.items())).encode())
    return digest.hexdigest()
