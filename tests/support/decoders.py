"""Everything that reads bytes or text from elsewhere, each with valid encodings and the errors that it may end in.

A decoder gives back what the value that it read is written as, which must be read as the same again.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from support.care_examples import one_of_every_kind
from support.logs import JUNIPER, KEY, Reader, Writer, a_database, a_receipt, an_entry, metadata
from support.sealing import NOON, KeyNetwork, some_labels
from tandem.audit.v1.audit_pb2 import AuditRecord, GetAuditProofResponse
from tandem.directory.v1.directory_pb2 import SignedKeyBundle
from tandem.exchange.v1.exchange_pb2 import (
    AuditRootPublished,
    EntriesReceived,
    LogPosition,
    LogRow,
    RowBody,
    SealedEntry,
)
from tandem.referral.v1.referral_pb2 import ListReferralsRequest
from tandem_care import entry_kinds
from tandem_care.errors import Invalid
from tandem_clinic.settings import ClinicSettings
from tandem_ops.account import Kept, kept_by
from tandem_ops.console import Stop
from tandem_ops.network.elsewhere import NetworkElsewhere
from tandem_ops.network.plan import Addresses, Layout, new_plan
from tandem_platform.audit.chain import NO_LINKS, Fact, Finding, extend, link_in, record_of
from tandem_platform.audit.roots import sign_root, verify_kept_chain
from tandem_platform.errors import Code, Refusal
from tandem_platform.exchange import quarantine
from tandem_platform.exchange.feed import KafkaFeed
from tandem_platform.exchange.rows import (
    FIRST_EPOCH,
    GENESIS_HASH,
    Position,
    body_hash,
    epoch_message,
    sign_batch,
)
from tandem_platform.exchange.transport.port import Record
from tandem_platform.rpc.identity import IdentityRefused, PeerIdentity, RevokedSerials
from tandem_platform.rpc.status import refusal_in, status_of
from tandem_platform.sealing import (
    BundleForged,
    KeyBundle,
    KeysUnreadable,
    PracticeCertificate,
    PracticeKeys,
    SealBroken,
    SignedBundle,
    load_certificate,
    open_entry,
    seal,
    sign_received,
    verify_bundle,
    verify_received,
)
from tandem_platform.sealing.encoding import NotCanonical, decode, encode
from tandem_platform.sealing.keys import KeyVersion
from tandem_platform.settings import PREFIX, SettingsUnfit, load
from tandem_platform.storage import Database, at_rest
from tandem_platform.storage.encryption import ColumnBroken, KekRetired, Keyring, KeyringUnreadable
from tandem_referral.grpc.pages import PageTokenInvalid, PageTokens
from tandem_referral.settings import HubSettings

JUNIPER_ID, RIVERBEND_ID = "prac_juniper", "prac_riverbend"


@dataclass(frozen=True)
class Decoder:
    """decode: gives back the same in writing, or raises one of *errors*. valid: what it must read."""

    name: str
    decode: Callable[[bytes], bytes]
    errors: tuple[type[Exception], ...]
    valid: Callable[[], Sequence[bytes]]
    # Valid ones hold private keys, even if they are nobody's.
    keeps_seeds: bool = True
    # Each run has an authority of its own: what it certified is valid in that run alone.
    is_certified: bool = False
    # Reads with a database behind it.
    is_slow: bool = False

    def holds(self, encoded: bytes) -> bytes | None:
        """What was read, in writing; None if it was refused. Anything else that happens is a fault of ours."""
        try:
            written = self.decode(encoded)
        except self.errors:
            return None
        assert self.decode(written) == written, "what was read is read as something else again"
        return written


class Scene:
    """Two practices and the hub with keys that are the same in every run, so that a kept seed still opens."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tandem-decoders-"))
        self.network = KeyNetwork(self.directory / "ca")
        self.juniper = self._keys(JUNIPER_ID, 1)
        self.riverbend = self._keys(RIVERBEND_ID, 2)
        self.hub = self._keys("hub", 3)
        self.pages = PageTokens(bytes(32))
        self.keyring = Keyring({1: bytes(32), 2: bytes(range(32))}, bytes(32))
        at_rest.install(bytes(range(32)))

    def _keys(self, practice_id: str, number: int) -> PracticeKeys:
        mlkem = MLKEM768PrivateKey.from_seed_bytes(bytes([number]) * 64)
        x25519 = X25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        ed25519 = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        hpke = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        signing = ed25519.public_key().public_bytes_raw()
        bundle = KeyBundle(practice_id, 1, hpke, signing, NOON, NOON + timedelta(days=365))
        signed = SignedBundle.made(bundle, self.certificate(practice_id), ())
        return PracticeKeys([KeyVersion(mlkem, x25519, ed25519, signed)])

    def certificate(self, practice_id: str) -> PracticeCertificate:
        return self.network.certificate(practice_id)

    def file(self, content: bytes, name: str = "read.json") -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)
        return path


@cache
def scene() -> Scene:
    """Made once."""
    return Scene()


def _canonical(encoded: bytes) -> bytes:
    return encode(*decode(encoded))


def _key_bundle(encoded: bytes) -> bytes:
    return KeyBundle.decoded(encoded).encoded


def _signed_bundle(encoded: bytes) -> bytes:
    """As whoever meets the practice for the first time, and as a partner who knows its first keys."""
    message = SignedKeyBundle.FromString(encoded)
    signed = SignedBundle.from_message(message)
    for pinned in (None, scene().juniper.bundle):
        bundle = verify_bundle(signed, scene().network.trust, JUNIPER_ID, NOON, pinned)
        # What was found good can be used.
        seal(some_labels(RIVERBEND_ID), b"", scene().riverbend, bundle)
    return signed.to_message().SerializeToString(deterministic=True)


def _signed_bundles() -> list[bytes]:
    keys = scene().juniper
    rotated = scene().network.rotated(keys, NOON, {1: NOON + timedelta(hours=1)})
    return [
        each.signed_bundle.to_message().SerializeToString(deterministic=True)
        for each in (keys, rotated, scene().network.rotated(rotated))
    ]


def _sealed_entry(encoded: bytes) -> bytes:
    """The content as both of them read it: whoever opens it reads the same."""
    entry = SealedEntry.FromString(encoded)
    contents = {
        open_entry(entry, keys, scene().juniper.bundle) for keys in (scene().juniper, scene().riverbend)
    }
    assert contents <= {_content(length) for length in _LENGTHS}, "a content that nobody sealed"
    return entry.SerializeToString(deterministic=True)


_LENGTHS = (0, 1, 252, 253, 2_000)


def _content(length: int) -> bytes:
    return b"x" * length


def _sealed_entries() -> list[bytes]:
    return [
        seal(
            some_labels(JUNIPER_ID), _content(length), scene().juniper, scene().riverbend.bundle
        ).SerializeToString(deterministic=True)
        for length in _LENGTHS
    ]


def _receipt(encoded: bytes) -> bytes:
    received = EntriesReceived.FromString(encoded)
    verify_received(received, scene().riverbend.bundle, NOON)
    return received.SerializeToString(deterministic=True)


def _receipts() -> list[bytes]:
    entries = [SealedEntry.FromString(each) for each in _sealed_entries()]
    return [
        sign_received(scene().riverbend, JUNIPER_ID, some).SerializeToString(deterministic=True)
        for some in ([], entries[:1], entries)
    ]


def _entry_content(encoded: bytes) -> bytes:
    return entry_kinds.to_json(entry_kinds.from_json(encoded)).encode()


def _entry_contents() -> list[bytes]:
    return [entry_kinds.to_json(each).encode() for each in one_of_every_kind().values()]


_PLACES: Sequence[list[str | int]] = (["ref_a", 7], [0])


def _page_token(encoded: bytes) -> bytes:
    request = ListReferralsRequest(page_token=encoded.decode("utf-8", "replace"))
    position = scene().pages.read(JUNIPER_ID, request)
    assert position in (None, *_PLACES), "a place that nobody was given"
    return request.page_token.encode()


def _page_tokens() -> list[bytes]:
    request = ListReferralsRequest()
    return [scene().pages.make(JUNIPER_ID, request, place).encode() for place in _PLACES]


def _keyring(encoded: bytes) -> bytes:
    keyring = Keyring.from_file(scene().file(encoded))
    assert keyring.unwrap(keyring.wrap(b"key", "d"), "d") == b"key"
    path = scene().directory / "written.json"
    keyring.save(path)
    return path.read_bytes()


def _keyrings() -> list[bytes]:
    path = scene().directory / "valid-keyring.json"
    scene().keyring.save(path)
    return [path.read_bytes()]


def _wrapped_key(encoded: bytes) -> bytes:
    assert scene().keyring.unwrap(encoded, "d") == b"k" * 32
    return encoded


def _at_rest(encoded: bytes) -> bytes:
    assert at_rest.decrypt(encoded, "table.column") in (b"", b"label")
    return encoded


def _practice_keys(encoded: bytes) -> bytes:
    directory = scene().directory / "keys"
    scene().file(encoded, "keys/keys-0001.pem")
    return PracticeKeys.load(directory).to_pem()[0].encode()


def _certificate_and_key(encoded: bytes) -> bytes:
    certificate, _, key = encoded.partition(b"-----BEGIN PRIVATE")
    load_certificate(certificate, b"-----BEGIN PRIVATE" + key)
    return encoded


def _certificates_and_keys() -> list[bytes]:
    authority = scene().network.authority
    issued = [authority.issue_practice(JUNIPER_ID), authority.issue_hub()]
    return [each.certificate_pem + each.key_pem for each in issued]


def _peer(encoded: bytes) -> bytes:
    caller = PeerIdentity("tandem.local", scene().network.clock).of(encoded)
    assert caller.id
    return encoded


def _peers() -> list[bytes]:
    authority = scene().network.authority
    issued = [authority.issue_practice(JUNIPER_ID), authority.issue_operator("kim")]
    return [each.certificate_pem for each in issued]


def _revoked_serials(encoded: bytes) -> bytes:
    assert -1 not in RevokedSerials(scene().file(encoded, "revoked.txt"))
    return encoded


_WORDS = ["a", "b", "c"]


@cache
def _exchange() -> tuple[Database, list[LogRow]]:
    """A database for readers, and what a writer wrote and signed row by row."""
    at_rest.install(bytes(range(32)))
    written = a_database(f"sqlite:///{scene().directory}/writer.db")
    writer = Writer(written)
    writer.words(_WORDS)
    rows = [row for after in range(len(_WORDS)) for row in writer.batch(after, limit=1)]
    written.close()
    return a_database(f"sqlite:///{scene().directory}/reader.db"), rows


def _new_reader() -> Reader:
    database, _ = _exchange()
    database.run(lambda tx: [tx.execute(table.delete()) for table in metadata.sorted_tables])
    return Reader(database)


def _log_row(encoded: bytes) -> bytes:
    """A record from Kafka raises nothing, only what was written takes effect, and gRPC can bring all of it."""
    reader, (first, second, third) = _new_reader(), _exchange()[1]
    values = [first.SerializeToString(), encoded, third.SerializeToString(), encoded]
    KafkaFeed(_Given(values), reader.log_reader, in_group=False).step()
    assert reader.words == _WORDS[: len(reader.words)], "what nobody wrote took effect"
    reader.pushed([first, second, third])
    assert reader.words == _WORDS
    return LogRow.FromString(encoded).SerializeToString(deterministic=True)


class _Given:
    """A subscription that brings these values once."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self._records = [Record(JUNIPER, offset, None, value) for offset, value in enumerate(values)]

    def poll(self, timeout: float) -> list[Record]:
        records, self._records = self._records, []
        return records

    def seek(self, topic: str, offset: int) -> None:
        """Nothing else is there."""

    def commit(self, offsets: object) -> None:
        """Nothing is remembered."""

    def healthy(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing is open."""


def _log_rows() -> list[bytes]:
    return [row.SerializeToString(deterministic=True) for row in _exchange()[1]]


def _pushed_body(encoded: bytes) -> bytes:
    """A body that its own writer signed holds nobody up, whatever it is, and can be tried again."""
    reader = _new_reader()
    row = LogRow(epoch=FIRST_EPOCH, sequence=1, previous_hash=GENESIS_HASH, body=encoded)
    row.body_hash = body_hash(encoded)
    sign_batch(JUNIPER, [row], KEY.sign)
    assert reader.pushed([row]).rows == 1, "the row stands in the way of others"
    with reader.database.reading() as tx:
        parked = [(row.episode_id, row.own_fault) for row in quarantine.listed(tx, JUNIPER)]
    for episode_id, own_fault in parked:
        assert not own_fault, "what its writer did counts as ours"
        reader.log_reader.retry(JUNIPER, episode_id)
    return RowBody.FromString(encoded).SerializeToString(deterministic=True)


def _pushed_bodies() -> list[bytes]:
    bodies = [an_entry("a"), an_entry("b", after="req_" + "a" * 26), a_receipt("c"), RowBody()]
    return [each.SerializeToString(deterministic=True) for each in bodies]


def _position(encoded: bytes) -> bytes:
    position = Position.from_message(LogPosition.FromString(encoded))
    epoch_message(JUNIPER, position.epoch, position)
    return position.to_message().SerializeToString(deterministic=True)


def _positions() -> list[bytes]:
    places = [
        Position(FIRST_EPOCH, 0, bytes(32)),
        Position(2, 7, b"h" * 32),
        Position(2**64 - 1, 2**64 - 1, b""),
    ]
    return [place.to_message().SerializeToString(deterministic=True) for place in places]


def _audit_record(encoded: bytes) -> bytes:
    """As the one record of a practice's chain: the check ends, and never finds nothing where no head is proven."""
    record = AuditRecord.FromString(encoded)
    assert _findings([record], GetAuditProofResponse())
    return record_of(link_in(record)).SerializeToString(deterministic=True)


def _audit_proof(encoded: bytes) -> bytes:
    proof = GetAuditProofResponse.FromString(encoded)
    assert _findings([], proof)
    return proof.SerializeToString(deterministic=True)


def _findings(records: list[AuditRecord], proof: GetAuditProofResponse) -> list[Finding]:
    kept = AuditRootPublished(tree_number=1, root=bytes(32))
    return list(verify_kept_chain(JUNIPER_ID, records, proof, kept, scene().hub.bundle))


def _audit_records() -> list[bytes]:
    fact = Fact(at=NOON, action="released", entry_id="ent_a", category=3, permission_version=2)
    records = [record_of(link) for link in extend(JUNIPER_ID, NO_LINKS, [fact, fact])]
    return [each.SerializeToString(deterministic=True) for each in records]


def _audit_proofs() -> list[bytes]:
    proof = GetAuditProofResponse(
        tree_number=1, root=bytes(32), head_number=1, leaf_count=2, path=[bytes(32)]
    )
    proof.published_at.FromDatetime(NOON)
    proof.signature = sign_root(scene().hub, 1, NOON, bytes(32))
    return [proof.SerializeToString(deterministic=True)]


def _status(encoded: bytes) -> bytes:
    return status_of(refusal_in(Status.FromString(encoded))).SerializeToString(deterministic=True)


def _statuses() -> list[bytes]:
    refusals = [IdentityRefused("none"), ColumnBroken("table", "column"), Refusal(Code.NOT_FOUND, "NONE", "")]
    return [status_of(each).SerializeToString(deterministic=True) for each in refusals]


def _settings(encoded: bytes) -> bytes:
    """The same text for every setting of both services; what may be a password is not repeated."""
    text = encoded.decode("utf-8", "replace").replace("\0", "")
    for cls in (HubSettings, ClinicSettings):
        faults = _faults(cls, {f"{PREFIX}{each.name.upper()}": text for each in fields(cls)})
        assert not any("DATABASE_URL" in fault and text in fault for fault in faults if len(text) > 20)
    return text.encode()


def _faults(cls: type[HubSettings | ClinicSettings], environment: dict[str, str]) -> list[str]:
    try:
        load(cls, environment)
    except SettingsUnfit as unfit:
        return unfit.faults
    return []


def _audit_export(encoded: bytes) -> bytes:
    return _written(kept_by(str(scene().file(encoded, "roots.json"))))


def _written(kept: Kept) -> bytes:
    return json.dumps(kept.to_json()).encode()


def _audit_exports() -> list[bytes]:
    root = AuditRootPublished(tree_number=3, root=bytes(32), signature=bytes(64))
    root.published_at.FromDatetime(datetime(2026, 3, 2, tzinfo=UTC))
    return [
        _written(Kept("clinic", scene().hub.bundle, (root, root))),
        _written(Kept("clinic", None, (root,))),
        _written(Kept("clinic", None, ())),
    ]


def _plan(encoded: bytes) -> bytes:
    layout = Layout(scene().directory / "plan")
    scene().file(encoded, "plan/network.json")
    plan = layout.load_plan()
    layout.save_plan(plan)
    return layout.plan_file.read_bytes()


def _plans() -> list[bytes]:
    layout = Layout(scene().directory / "valid-plan")
    plans = []
    for plan in (new_plan(), new_plan(("alder",), kafka="127.0.0.1:9092", postgres="postgresql://a@h/d")):
        layout.save_plan(plan)
        plans.append(layout.plan_file.read_bytes())
    return plans


def _running(encoded: bytes) -> bytes:
    layout = Layout(scene().directory / "running")
    scene().file(encoded, "running/running.json")
    if not layout.plan_file.exists():
        layout.save_plan(new_plan())
    layout.save_addresses(layout.load_addresses())
    return layout.addresses_file.read_bytes()


def _runnings() -> list[bytes]:
    layout = Layout(scene().directory / "valid-running")
    layout.save_addresses(Addresses("127.0.0.1:1", "", {"juniper": "http://127.0.0.1:2"}, {"juniper": "h:3"}))
    return [layout.addresses_file.read_bytes()]


def _elsewhere(encoded: bytes) -> bytes:
    network = NetworkElsewhere.read(scene().file(encoded))
    for practice in network.practice_plans():
        network.http_address(practice), network.token(practice.name)
    return encoded


def _elsewheres() -> list[bytes]:
    command = ["true"]
    member = {"kill": command, "stop": command, "start": command, "ready": command}
    names = ("juniper", "riverbend")
    said: dict[str, Any] = {
        "practices": {name: {"address": f"http://{name}:80", "token": "t"} for name in names},
        "members": dict.fromkeys(("broker", "hub", *names), member),
        "account": command,
        "searched": {"logs": command},
    }
    return [json.dumps(said).encode()]


DECODERS: Sequence[Decoder] = (
    Decoder("canonical", _canonical, (NotCanonical,), lambda: [encode(1, "a", b"b", None, [True, [-1]])]),
    Decoder("key-bundle", _key_bundle, (BundleForged,), lambda: [scene().juniper.bundle.encoded]),
    Decoder("signed-bundle", _signed_bundle, (DecodeError, Refusal), _signed_bundles, is_certified=True),
    Decoder("sealed-entry", _sealed_entry, (DecodeError, SealBroken), _sealed_entries),
    Decoder("receipt", _receipt, (DecodeError, SealBroken), _receipts),
    Decoder("entry-content", _entry_content, (Invalid,), _entry_contents),
    Decoder("page-token", _page_token, (PageTokenInvalid,), _page_tokens),
    Decoder("keyring", _keyring, (KeyringUnreadable,), _keyrings, keeps_seeds=False),
    Decoder(
        "wrapped-key",
        _wrapped_key,
        (ColumnBroken, KekRetired),
        lambda: [scene().keyring.wrap(b"k" * 32, "d")],
    ),
    Decoder(
        "at-rest",
        _at_rest,
        (at_rest.AtRestBroken,),
        lambda: [at_rest.encrypt(value, "table.column") for value in (b"", b"label") if scene()],
    ),
    Decoder(
        "practice-keys",
        _practice_keys,
        (KeysUnreadable,),
        lambda: [scene().juniper.to_pem()[0].encode()],
        keeps_seeds=False,
    ),
    Decoder(
        "certificate-and-key",
        _certificate_and_key,
        (KeysUnreadable,),
        _certificates_and_keys,
        keeps_seeds=False,
    ),
    Decoder("peer", _peer, (IdentityRefused,), _peers),
    Decoder(
        "revoked-serials",
        _revoked_serials,
        (ValueError,),
        lambda: [b"# none\n", b"# one\nabc # ours\n0DEF\n"],
    ),
    Decoder("log-row", _log_row, (DecodeError,), _log_rows, is_slow=True),
    Decoder(
        "pushed-body",
        _pushed_body,
        (DecodeError,),
        _pushed_bodies,
        is_slow=True,
    ),
    Decoder("position", _position, (DecodeError,), _positions),
    Decoder("audit-record", _audit_record, (DecodeError, ValueError, OverflowError), _audit_records),
    Decoder("audit-proof", _audit_proof, (DecodeError,), _audit_proofs),
    Decoder("status", _status, (DecodeError,), _statuses),
    Decoder("settings", _settings, (), lambda: [b"127.0.0.1:80", b"sqlite:///a.db", b"1.5", b"yes", b"a,b"]),
    Decoder("audit-export", _audit_export, (Stop,), _audit_exports),
    Decoder("plan", _plan, (Stop,), _plans),
    Decoder("running", _running, (Stop,), _runnings),
    Decoder("elsewhere", _elsewhere, (Stop,), _elsewheres),
)


def decoder(name: str) -> Decoder:
    (found,) = (each for each in DECODERS if each.name == name)
    return found


def kept_seeds(directory: Path) -> list[tuple[str, Path]]:
    """Decoder and file of every seed: hexadecimal text, for whoever reads the change."""
    return [(file.parent.name, file) for file in sorted(directory.glob("*/*.hex"))]


def seed_in(file: Path) -> bytes:
    return bytes.fromhex(file.read_text())


def as_seed(encoded: bytes) -> str:
    """In lines of 40 bytes."""
    text = encoded.hex()
    return "".join(f"{text[start : start + 80]}\n" for start in range(0, len(text), 80))
