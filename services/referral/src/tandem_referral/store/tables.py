"""The hub's tables. Ids, codes, times, numbers and sealed bytes; labels are encrypted at rest."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from tandem_care.offers import LANGUAGES, NUMBERS, PRICES
from tandem_platform.exchange.tables import exchange_tables
from tandem_platform.storage.types import EncryptedBytes, UtcTime

metadata = MetaData()
exchange = exchange_tables(metadata)

practice = Table(
    "practice",
    metadata,
    Column("practice_id", String, primary_key=True),
    # A serialised directory.v1.Practice without capacity: what the practice publishes about itself.
    Column("profile", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    # A serialised directory.v1.Capacity: openings, and the next ones.
    Column("capacity", LargeBinary),
    Column("capacity_stated_at", UtcTime),
    Column("registered_at", UtcTime, nullable=False),
)

# What decides about a practice's place when somebody searches: small rows, because every search looks at all of them.
listing = Table(
    "listing",
    metadata,
    Column("practice_id", String, ForeignKey("practice.practice_id"), primary_key=True),
    # The columns of tandem_care.offers.
    *(Column(name, BigInteger, nullable=False) for name in NUMBERS),
    *(Column(name, Integer) for name in PRICES),
    Column(LANGUAGES, String, nullable=False),
    Column("openings", Integer, nullable=False, server_default="0"),
    Column("stated_at", UtcTime),
)

next_opening = Table(
    "next_opening",
    metadata,
    Column("practice_id", String, ForeignKey("practice.practice_id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    # Empty for any.
    Column("service", String, nullable=False),
)
Index("next_opening_at", next_opening.c.at, next_opening.c.service)

key_bundle = Table(
    "key_bundle",
    metadata,
    Column("practice_id", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    # A serialised directory.v1.SignedKeyBundle.
    Column("bundle", LargeBinary, nullable=False),
    Column("published_at", UtcTime, nullable=False),
)

partnership = Table(
    "partnership",
    metadata,
    Column("partnership_id", String, primary_key=True),
    Column("proposer_practice_id", String, nullable=False),
    Column("partner_practice_id", String, nullable=False),
    Column("state", String, nullable=False),
    Column("suspended_by", String, nullable=False, server_default=""),
    # Serialised directory.v1.Terms: in force, and waiting for the other side.
    Column("terms", LargeBinary),
    Column("proposed_terms", LargeBinary),
    Column("version", BigInteger, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)
Index("partnership_by_proposer", partnership.c.proposer_practice_id)
Index("partnership_by_partner", partnership.c.partner_practice_id)

episode = Table(
    "episode",
    metadata,
    Column("episode_id", String, primary_key=True),
    Column("partnership_id", String, ForeignKey("partnership.partnership_id"), nullable=False),
    # The two practices of the partnership, referrer of the first referral first.
    Column("opener_practice_id", String, nullable=False),
    Column("partner_practice_id", String, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
)

referral = Table(
    "referral",
    metadata,
    Column("referral_id", String, primary_key=True),
    Column("episode_id", String, ForeignKey("episode.episode_id"), nullable=False),
    Column("partnership_id", String, nullable=False),
    Column("referrer_practice_id", String, nullable=False),
    Column("recipient_practice_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("urgency", String, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", String, nullable=False, server_default=""),
    Column("outcome", String, nullable=False, server_default=""),
    Column("version", BigInteger, nullable=False),
    Column("requested_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    # When the clock of the present state runs out.
    Column("due_at", UtcTime, nullable=False),
    Column("received_at", UtcTime),
    Column("opened_at", UtcTime),
    # Where a requested cancellation came from, and where the final state did: to go back there.
    Column("cancel_from", String, nullable=False, server_default=""),
    Column("closed_from", String, nullable=False, server_default=""),
    # Who made the last move: for repeats and for the short undo.
    Column("last_move", String, nullable=False, server_default=""),
    Column("last_move_by", String, nullable=False, server_default=""),
    Column("replaces_referral_id", String, nullable=False, server_default=""),
    Column("replaced_by_referral_id", String, nullable=False, server_default=""),
    Column("continues_referral_id", String, nullable=False, server_default=""),
)
Index("referral_by_episode", referral.c.episode_id)
Index("referral_by_referrer", referral.c.referrer_practice_id, referral.c.requested_at)
Index("referral_by_recipient", referral.c.recipient_practice_id, referral.c.requested_at)

Index("referral_due", referral.c.state, referral.c.due_at)

referral_move = Table(
    "referral_move",
    metadata,
    Column("referral_id", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("move", String, nullable=False),
    Column("from_state", String, nullable=False),
    Column("to_state", String, nullable=False),
    Column("by_practice_id", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("at", UtcTime, nullable=False),
)

# Parties from whom identity-contact or referral-status was withdrawn: to them the referral is "closed".
referral_closed_to = Table(
    "referral_closed_to",
    metadata,
    Column("referral_id", String, ForeignKey("referral.referral_id"), primary_key=True),
    Column("practice_id", String, primary_key=True),
    # What they see of it, whatever happens to it meanwhile: this version, and this many of its moves.
    Column("version", BigInteger, nullable=False),
    Column("moves", Integer, nullable=False),
    Column("closed_at", UtcTime, nullable=False),
)

# One row per direction of an episode: what decides about a release takes it shared, what changes permission takes it exclusively.
scope = Table(
    "scope",
    metadata,
    Column("episode_id", String, primary_key=True),
    Column("discloser_practice_id", String, primary_key=True),
    Column("recipient_practice_id", String, primary_key=True),
    Column("version", BigInteger, nullable=False, server_default="1"),
)

permission = Table(
    "permission",
    metadata,
    Column("permission_id", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("episode_id", String, nullable=False),
    Column("discloser_practice_id", String, nullable=False),
    Column("recipient_practice_id", String, nullable=False),
    Column("recorded_by", String, nullable=False),
    # ",1,9," – numbers of common.v1.Category.
    Column("categories", EncryptedBytes("permission.categories"), nullable=False),
    # "ent_…,ent_…": what a denial forbids where that is not the categories.
    Column("entry_ids", String, nullable=False, server_default=""),
    Column("purpose", Integer, nullable=False),
    Column("basis", Integer, nullable=False),
    Column("effect", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("starts_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime),
    Column("history_from", UtcTime),
    Column("evidence_hash", LargeBinary, nullable=False),
    Column("base", Boolean, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)
Index(
    "permission_by_scope",
    permission.c.episode_id,
    permission.c.discloser_practice_id,
    permission.c.recipient_practice_id,
)
Index("permission_by_discloser", permission.c.discloser_practice_id)
Index("permission_by_recipient", permission.c.recipient_practice_id)
Index("permission_due", permission.c.state, permission.c.ends_at)

# Append-only: every version that a permission has had.
permission_version = Table(
    "permission_version",
    metadata,
    Column("permission_id", String, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String, nullable=False),
    Column("changed_by", String, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)

# What each recipient must know before it trusts a Kafka copy.
revocation = Table(
    "revocation",
    metadata,
    Column("recipient_practice_id", String, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("permission_id", String, nullable=False),
    Column("permission_version", BigInteger, nullable=False),
    Column("acknowledged_at", UtcTime),
)

# The sealed entry itself is the uplink row that brought it, kept in exchange_log.
entry = Table(
    "entry",
    metadata,
    Column("entry_id", String, primary_key=True),
    Column("episode_id", String, nullable=False),
    Column("origin_practice_id", String, nullable=False),
    Column("uplink_sequence", BigInteger, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    # Which entry this one amends, to be withheld with it.
    Column("amends_entry_id", String, nullable=False, server_default=""),
    # A serialised KeyWrap that came after the entry.
    Column("late_wrap", EncryptedBytes("entry.late_wrap")),
    Column("shredded", Boolean, nullable=False, server_default="0"),
)
Index("entry_by_scope", entry.c.episode_id, entry.c.origin_practice_id, entry.c.uplink_sequence)

# What was decided about giving an entry to the episode's other practice; the latest decision.
release = Table(
    "release",
    metadata,
    Column("entry_id", String, primary_key=True),
    Column("recipient_practice_id", String, primary_key=True),
    Column("episode_id", String, nullable=False),
    Column("discloser_practice_id", String, nullable=False),
    # "released", "withheld", "waiting-for-wrap", "voided".
    Column("result", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("permission_id", String, nullable=False, server_default=""),
    Column("permission_version", BigInteger, nullable=False, server_default="0"),
    Column("decided_at", UtcTime, nullable=False),
    # The last time that it was released; stays when it is voided or withheld later.
    Column("released_at", UtcTime),
    # The number of a common.v1.Category, for the accounting of disclosures.
    Column("category", EncryptedBytes("release.category"), nullable=False),
    Column("delivered_at", UtcTime),
    Column("voided_at", UtcTime),
    # Its recipient kept it although it was voided: it had been read before the notice came.
    Column("kept", Boolean, nullable=False, server_default="0"),
    Column("wrap_requested_at", UtcTime),
)
Index("release_by_discloser", release.c.discloser_practice_id, release.c.released_at)
Index("release_by_scope", release.c.episode_id, release.c.discloser_practice_id, release.c.result)
Index("release_by_permission", release.c.permission_id)

# Scopes whose withheld history a new permission may have opened.
sweep = Table(
    "sweep",
    metadata,
    Column("episode_id", String, primary_key=True),
    Column("discloser_practice_id", String, primary_key=True),
    Column("recipient_practice_id", String, primary_key=True),
    # The last entry dealt with; entries are swept in the order in which they came.
    Column("after_sequence", BigInteger, nullable=False, server_default="0"),
    Column("asked_at", UtcTime, nullable=False),
)

command = Table(
    "command",
    metadata,
    Column("practice_id", String, primary_key=True),
    Column("method", String, primary_key=True),
    Column("request_id", String, primary_key=True),
    Column("body_hash", LargeBinary, nullable=False),
    # One of the two: the serialised response, or the serialised google.rpc.Status.
    Column("answer", EncryptedBytes("command.answer")),
    Column("refusal", EncryptedBytes("command.refusal")),
    Column("number", BigInteger),
    Column("answered_at", UtcTime, nullable=False),
)
Index("command_by_request", command.c.practice_id, command.c.request_id)

# Also the lock under which a caller's commands are counted.
command_count = Table(
    "command_count",
    metadata,
    Column("practice_id", String, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

audit_record = Table(
    "audit_record",
    metadata,
    # A practice id, or "hub".
    Column("chain", String, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    # A serialised audit.v1.AuditRecord without number, hashes and time.
    Column("record", EncryptedBytes("audit_record.record"), nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("chain", String, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

audit_root = Table(
    "audit_root",
    metadata,
    Column("tree_number", BigInteger, primary_key=True, autoincrement=False),
    Column("published_at", UtcTime, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    # What the salts of the leaves are drawn from.
    Column("secret", EncryptedBytes("audit_root.secret"), nullable=False),
    # Which downlinks have it: those of practices up to this id. Null when all have.
    Column("announced_to", String),
)

# A chain's head as it was put under a tree; written when the head had moved, it stands for later trees too.
audit_leaf = Table(
    "audit_leaf",
    metadata,
    Column("chain", String, primary_key=True),
    Column("tree_number", BigInteger, primary_key=True, autoincrement=False),
    Column("head_number", BigInteger, nullable=False),
    Column("head_hash", LargeBinary, nullable=False),
)

# What the hub knows of each clinic's connection.
practice_sync = Table(
    "practice_sync",
    metadata,
    Column("practice_id", String, primary_key=True),
    Column("last_sync_at", UtcTime, nullable=False),
    # The run of the hub in which the clinic has synced and replayed; releases wait for it.
    Column("caught_up_in_run", String, nullable=False, server_default=""),
    # The run in which its commands are taken: it has synced, and what the hub may have lost goes first.
    Column("commands_in_run", String, nullable=False, server_default=""),
    Column("commands_known", BigInteger, nullable=False, server_default="0"),
    Column("kafka_failing", Boolean, nullable=False, server_default="0"),
)

# A single row. The hub's time for decisions never runs backwards.
hub_state = Table(
    "hub_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("high_water", UtcTime, nullable=False),
    Column("run", String, nullable=False, server_default=""),
)
