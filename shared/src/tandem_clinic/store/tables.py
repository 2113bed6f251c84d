"""Tables of every clinic. A service copies them into its own metadata and adds what it alone owns."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from tandem_clinic.store.course_tables import course_tables
from tandem_clinic.store.notification_tables import notification_tables
from tandem_clinic.store.referral_tables import referral_tables
from tandem_platform.exchange.tables import exchange_tables
from tandem_platform.storage.types import UtcTime

metadata = MetaData()

exchange = exchange_tables(metadata)
courses = course_tables(metadata)
referral_desk = referral_tables(metadata)
notification = notification_tables(metadata)

# Wrapped by the clinic's key-encryption key. Destroying one shreds what was encrypted under it.
data_key = Table(
    "data_key",
    metadata,
    # A patient, or the episode of a partner's entries before it is known whose they are.
    Column("data_key_id", String, primary_key=True),
    # Empty once destroyed: the row stays, so that nothing is ever written under that name again.
    Column("wrapped", LargeBinary, nullable=False),
)

patient = Table(
    "patient",
    metadata,
    Column("patient_id", String, primary_key=True),
    Column("identity", LargeBinary, nullable=False),
    # Keyed hash: equal birth dates are found without being readable.
    Column("birth_date_index", LargeBinary, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("registered_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)

patient_identifier = Table(
    "patient_identifier",
    metadata,
    Column("system", String, primary_key=True),
    Column("value_index", LargeBinary, primary_key=True),
    Column("patient_id", String, nullable=False, index=True),
)

staff = Table(
    "staff",
    metadata,
    Column("staff_id", String, primary_key=True),
    Column("display_name", String, nullable=False),
    Column("roles", JSON, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

access_token = Table(
    "access_token",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("staff_id", String, nullable=False, index=True),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
)

partnership = Table(
    "partnership",
    metadata,
    Column("partnership_id", String, primary_key=True),
    Column("partner_practice_id", String, nullable=False, index=True),
    # "proposed", "active", "suspended", "ended"; "refused" if the hub did not take the proposal.
    Column("state", String, nullable=False),
    Column("proposed_by_us", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("partner_name", String, nullable=False),
    Column("partner_phone", String, nullable=False),
    Column("partner_on_call_phone", String, nullable=False),
    # Whether the partner accepts a treatment relationship as a basis.
    Column("partner_allows_treatment_basis", Boolean, nullable=False),
    # Its sites as it publishes them, with their telephone numbers: needed when the hub is away, too.
    Column("partner_sites", JSON, nullable=False),
    # The fingerprint that a person compared with the partner's by another way, and who did.
    Column("fingerprint", String, nullable=False),
    Column("fingerprint_confirmed_by", String, nullable=False),
    Column("fingerprint_confirmed_at", UtcTime),
    Column("changed_at", UtcTime, nullable=False),
)

# Every terms that the hub has told of. Those with the highest number that both sides accepted are in force.
agreement = Table(
    "agreement",
    metadata,
    Column("partnership_id", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("text_hash", LargeBinary, nullable=False),
    Column("proposed_by_us", Boolean, nullable=False),
    Column("proposed_at", UtcTime, nullable=False),
    Column("accepted_at", UtcTime),
)

# Texts of terms that are known here; a partner's comes another way than by the hub, and is known by its digest.
terms_text = Table(
    "terms_text",
    metadata,
    Column("text_hash", LargeBinary, primary_key=True),
    Column("text", String, nullable=False),
    Column("kept_at", UtcTime, nullable=False),
)

# What was stated of the openings, newest last.
capacity_statement = Table(
    "capacity_statement",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("openings", Integer, nullable=False),
    Column("next_openings", JSON, nullable=False),
    Column("stated_by", String, nullable=False),
    Column("stated_at", UtcTime, nullable=False, index=True),
)

# Practices that are considered for a patient. Who they are is encrypted: whom one considers may say what for.
shortlisted_practice = Table(
    "shortlisted_practice",
    metadata,
    Column("patient_id", String, primary_key=True),
    # Keyed hash of patient and practice: once each, and not to be compared between patients.
    Column("practice_index", LargeBinary, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)

partner_key = Table(
    "partner_key",
    metadata,
    Column("practice_id", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    # A serialised SignedKeyBundle, verified before it came here.
    Column("bundle", LargeBinary, nullable=False),
    Column("pinned_at", UtcTime, nullable=False),
)

episode = Table(
    "episode",
    metadata,
    Column("episode_id", String, primary_key=True),
    Column("partnership_id", String, nullable=False),
    Column("partner_practice_id", String, nullable=False),
    # Unset while it is not known whose episode it is here.
    Column("patient_id", String, index=True),
    # "open", "closed".
    Column("state", String, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("closed_at", UtcTime),
)
Index(
    "episode_one_open_per_patient_and_partnership",
    episode.c.patient_id,
    episode.c.partnership_id,
    unique=True,
    sqlite_where=text("state = 'open'"),
    postgresql_where=text("state = 'open'"),
)

hub_referral = Table(
    "hub_referral",
    metadata,
    Column("referral_id", String, primary_key=True),
    Column("episode_id", String, nullable=False, index=True),
    Column("partnership_id", String, nullable=False),
    Column("referrer_practice_id", String, nullable=False),
    Column("recipient_practice_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("urgency", String, nullable=False),
    # As the hub last told; "requested" before it has told anything, "refused" if it did not take the request.
    Column("state", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("outcome", String, nullable=False),
    # 0 until the hub has answered: queued, not confirmed.
    Column("version", BigInteger, nullable=False),
    # Inbound: "waiting" for a person, then "linked", "created" or "not-ours". Outbound: "own".
    Column("intake", String, nullable=False),
    Column("replaces_referral_id", String, nullable=False),
    Column("continues_referral_id", String, nullable=False),
    # Whose the last move was, empty for the clock's; and where an undo or a refused cancellation returns to.
    Column("moved_by_practice_id", String, nullable=False),
    Column("cancel_from", String, nullable=False),
    Column("closed_from", String, nullable=False),
    # When the clock of the present state runs out, by the hub's time.
    Column("due_at", UtcTime, index=True),
    Column("requested_by", String, nullable=False),
    Column("requested_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Column("first_opened_at", UtcTime),
)

permission = Table(
    "permission",
    metadata,
    Column("permission_id", String, primary_key=True),
    # 0 until the hub has answered: queued, not confirmed.
    Column("version", BigInteger, nullable=False),
    Column("episode_id", String, nullable=False, index=True),
    Column("discloser_practice_id", String, nullable=False),
    Column("recipient_practice_id", String, nullable=False),
    Column("categories", JSON, nullable=False),
    # The entries that a denial forbids, and nothing else.
    Column("entry_ids", JSON, nullable=False),
    Column("purpose", String, nullable=False),
    Column("basis", String, nullable=False),
    Column("effect", String, nullable=False),
    # "active", "held", "revoked", "expired"; "refused" if the hub did not take it.
    Column("state", String, nullable=False),
    Column("starts_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime),
    Column("history_from", UtcTime),
    Column("evidence_hash", LargeBinary, nullable=False),
    # The form or attestation, encrypted; unset for permissions that a partner recorded.
    Column("evidence", LargeBinary),
    Column("recorded_by", String, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    # When the other practice took notice of its end.
    Column("acknowledged_at", UtcTime),
)

# What a patient answered when asked, where the answer is not a permission.
consent_answer = Table(
    "consent_answer",
    metadata,
    Column("answer_id", String, primary_key=True),
    Column("patient_id", String, nullable=False, index=True),
    Column("episode_id", String, nullable=False),
    # "declined-to-sign".
    Column("answer", String, nullable=False),
    Column("categories", JSON, nullable=False),
    Column("recorded_by", String, nullable=False),
    Column("answered_at", UtcTime, nullable=False),
)

# The clinic's own record. What leaves is sealed from it, anew for each episode.
own_entry = Table(
    "own_entry",
    metadata,
    Column("record_id", String, primary_key=True),
    Column("patient_id", String, nullable=False),
    # Set where an entry belongs to one episode only, such as the words that go with a referral.
    Column("episode_id", String),
    Column("kind", String, nullable=False),
    Column("category", String, nullable=False),
    Column("derived_from", JSON, nullable=False),
    Column("part2", Boolean, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("author_id", String, nullable=False),
    Column("authored_at", UtcTime, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
    # "active", "amended", "entered-in-error"; "marker" for the record that takes another back.
    Column("state", String, nullable=False),
    Column("amends_record_id", String),
)
Index("own_entry_by_patient", own_entry.c.patient_id, own_entry.c.authored_at)

# Where the EHR knows a record by an id of its own: recording it twice is recording it once.
own_entry_identifier = Table(
    "own_entry_identifier",
    metadata,
    Column("system", String, primary_key=True),
    Column("value_index", LargeBinary, primary_key=True),
    Column("record_id", String, nullable=False),
)

# Each sealing of an own entry: one per episode, with an id of its own, so that partners cannot compare ids.
sealed_entry = Table(
    "sealed_entry",
    metadata,
    Column("entry_id", String, primary_key=True),
    Column("record_id", String, nullable=False, index=True),
    Column("episode_id", String, nullable=False, index=True),
    # A serialised SealedEntry, from which a late wrap is made.
    Column("sealed", LargeBinary, nullable=False),
    Column("partner_wrapped", Boolean, nullable=False),
    # Why it was or was not wrapped: a rule of tandem_care.permission.
    Column("rule", String, nullable=False),
    Column("sealed_at", UtcTime, nullable=False),
)

received_entry = Table(
    "received_entry",
    metadata,
    Column("entry_id", String, primary_key=True),
    Column("episode_id", String, nullable=False),
    Column("origin_practice_id", String, nullable=False),
    Column("category", String, nullable=False),
    # A serialised EntryLabels.
    Column("labels", LargeBinary, nullable=False),
    # Encrypted under the episode's data key.
    Column("content", LargeBinary, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("authored_at", UtcTime, nullable=False),
    # "active", "amended", "entered-in-error", "revoked".
    Column("state", String, nullable=False),
    Column("amends_entry_id", String, nullable=False),
    Column("permission_id", String, nullable=False),
    Column("permission_version", BigInteger, nullable=False),
    Column("notice", String, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    # When a person first read it.
    Column("first_read_at", UtcTime),
)
Index("received_entry_by_episode", received_entry.c.episode_id, received_entry.c.authored_at)
Index("received_entry_by_permission", received_entry.c.permission_id)

receipt = Table(
    "receipt",
    metadata,
    Column("entry_id", String, primary_key=True),
    Column("recipient_practice_id", String, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("returned_at", UtcTime, nullable=False),
)

revocation_known = Table(
    "revocation_known",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("permission_id", String, nullable=False, index=True),
    Column("permission_version", BigInteger, nullable=False),
    Column("known_at", UtcTime, nullable=False),
)

audit_root = Table(
    "audit_root",
    metadata,
    Column("tree_number", BigInteger, primary_key=True, autoincrement=False),
    Column("published_at", UtcTime, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("kept_at", UtcTime, nullable=False),
)

# Commands to the hub, first in, first out.
command = Table(
    "command",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("request_id", String, nullable=False, unique=True),
    Column("method", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("depends_on", String, index=True),
    Column("episode_id", String, nullable=False),
    # Ids of what the command changes here: referral, permission or partnership.
    Column("subject_id", String, nullable=False),
    # Stops entries with a partner's wrap for its episode while it is queued.
    Column("withholds", Boolean, nullable=False),
    Column("author_id", String, nullable=False),
    # "queued", "answered", "refused", "cancelled".
    Column("state", String, nullable=False, index=True),
    # Set while an answered command goes again to a hub that has lost it.
    Column("replayed_since", UtcTime),
    Column("attempts", Integer, nullable=False),
    Column("last_failure", String, nullable=False),
    Column("refusal_message", String, nullable=False),
    Column("receipt_number", BigInteger, nullable=False),
    Column("answer", LargeBinary),
    Column("queued_at", UtcTime, nullable=False),
    Column("answered_at", UtcTime),
)
Index("command_by_receipt", command.c.receipt_number)

journal_head = Table(
    "journal_head",
    metadata,
    Column("journal", String, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

worklist_item = Table(
    "worklist_item",
    metadata,
    Column("item_id", String, primary_key=True),
    # "inbound-referral", "command-refused", "question", "wrap-waiting", "receipt-overdue", "revocation", …
    Column("kind", String, nullable=False),
    Column("subject_id", String, nullable=False),
    Column("episode_id", String, nullable=False),
    # Whose it is; empty for everybody who coordinates.
    Column("staff_id", String, nullable=False),
    # Codes and ids only.
    Column("facts", JSON, nullable=False),
    Column("raised_at", UtcTime, nullable=False),
    Column("done_at", UtcTime),
    Column("done_by", String, nullable=False),
    UniqueConstraint("kind", "subject_id", name="worklist_item_once"),
)

alert = Table(
    "alert",
    metadata,
    Column("kind", String, primary_key=True),
    Column("subject_id", String, primary_key=True),
    Column("facts", JSON, nullable=False),
    Column("raised_at", UtcTime, nullable=False),
    Column("cleared_at", UtcTime),
)

Index("worklist_item_open", worklist_item.c.done_at, worklist_item.c.staff_id)

# The clinic's own tamper-evident account of who read, recorded and disclosed what.
audit_record = Table(
    "audit_record",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("action", String, nullable=False),
    Column("staff_id", String, nullable=False),
    Column("patient_id", String, nullable=False, index=True),
    Column("subject_id", String, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

Index("audit_record_by_action", audit_record.c.action, audit_record.c.at)

audit_head = Table(
    "audit_head",
    metadata,
    Column("chain", String, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

# Answers to requests of people and EHRs, so that repeating one changes nothing.
answered_request = Table(
    "answered_request",
    metadata,
    Column("staff_id", String, primary_key=True),
    Column("operation", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("body_hash", LargeBinary, nullable=False),
    Column("status", Integer, nullable=False),
    # Encrypted: an answer may say what a patient is called.
    Column("answer", LargeBinary, nullable=False),
    Column("answered_at", UtcTime, nullable=False),
)
