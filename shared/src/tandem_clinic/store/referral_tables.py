"""What a clinic keeps of its own beside what the hub tells of referrals: history, whose turn, cover, attempts."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, MetaData, String, Table

from tandem_platform.storage.types import UtcTime


@dataclass(frozen=True, slots=True)
class ReferralTables:
    line: Table
    desk: Table
    absence: Table
    attempt: Table
    shortlist_permission: Table


def referral_tables(metadata: MetaData) -> ReferralTables:
    """Defines the tables in *metadata*."""
    line = Table(
        "referral_line",
        metadata,
        Column("referral_id", String, primary_key=True),
        Column("version", BigInteger, primary_key=True, autoincrement=False),
        Column("move", String, nullable=False),
        Column("state", String, nullable=False),
        Column("reason", String, nullable=False),
        # Empty where the clock moved it.
        Column("by_practice_id", String, nullable=False),
        # Who of our own people; empty for the partner's moves.
        Column("staff_id", String, nullable=False),
        Column("at", UtcTime, nullable=False),
    )
    desk = Table(
        "referral_desk",
        metadata,
        Column("referral_id", String, primary_key=True),
        # Empty: everybody who coordinates.
        Column("assigned_to", String, nullable=False, index=True),
        # A refusal is followed by the next practice on the patient's shortlist.
        Column("follows_shortlist", Boolean, nullable=False),
    )
    absence = Table(
        "staff_absence",
        metadata,
        Column("absence_id", String, primary_key=True),
        Column("staff_id", String, nullable=False, index=True),
        Column("cover_id", String, nullable=False),
        Column("starts_at", UtcTime, nullable=False),
        Column("until", UtcTime, nullable=False),
    )
    attempt = Table(
        "contact_attempt",
        metadata,
        Column("attempt_id", String, primary_key=True),
        Column("referral_id", String, nullable=False, index=True),
        Column("channel", String, nullable=False),
        Column("reached", Boolean, nullable=False),
        Column("staff_id", String, nullable=False),
        Column("at", UtcTime, nullable=False),
    )
    shortlist_permission = Table(
        "shortlist_permission",
        metadata,
        Column("patient_id", String, primary_key=True),
        # As of the shortlisted practice.
        Column("practice_index", LargeBinary, primary_key=True),
        Column("basis", String, nullable=False),
        # The form or attestation, encrypted.
        Column("evidence", LargeBinary, nullable=False),
        Column("recorded_by", String, nullable=False),
        Column("recorded_at", UtcTime, nullable=False),
    )
    return ReferralTables(line, desk, absence, attempt, shortlist_permission)
