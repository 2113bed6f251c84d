"""Tables of what tells people that something waits for them. Nothing in them is about a patient."""

from dataclasses import dataclass

from sqlalchemy import JSON, Boolean, Column, Index, Integer, MetaData, String, Table

from tandem_platform.storage.types import UtcTime


@dataclass(frozen=True, slots=True)
class NotificationTables:
    reached: Table
    notice: Table
    message: Table


def notification_tables(metadata: MetaData) -> NotificationTables:
    # How a person of the clinic wants to be reached.
    reached = Table(
        "notified_person",
        metadata,
        Column("staff_id", String, primary_key=True),
        # [channel, address] in the order in which they are tried.
        Column("channels", JSON, nullable=False),
        Column("time_zone", String, nullable=False),
        # Minutes after midnight there; equal for no quiet hours.
        Column("quiet_from", Integer, nullable=False),
        Column("quiet_until", Integer, nullable=False),
        # At most one message in so many minutes; 0 for each at once.
        Column("digest_minutes", Integer, nullable=False),
        # Empty for nobody.
        Column("cover_staff_id", String, nullable=False),
        Column("escalate_after_minutes", Integer, nullable=False),
        Column("changed_at", UtcTime, nullable=False),
    )
    # The outbox: written in the transaction that raised the item.
    notice = Table(
        "notice",
        metadata,
        Column("item_id", String, primary_key=True),
        # An item that was done and came back was raised anew.
        Column("raised_at", UtcTime, primary_key=True),
        Column("staff_id", String, primary_key=True),
        # Whether it came to this person as the cover of another.
        Column("as_cover", Boolean, primary_key=True),
        # Empty until a message carries it; "-" if none has to, "!" if none can.
        Column("message_id", String, nullable=False, index=True),
        Column("escalated", Boolean, nullable=False),
    )
    message = Table(
        "notification_message",
        metadata,
        # Fixed before anything is sent: what a server hears again, it hears under the same id.
        Column("message_id", String, primary_key=True),
        Column("staff_id", String, nullable=False, index=True),
        Column("channel", String, nullable=False),
        Column("address", String, nullable=False),
        Column("items", Integer, nullable=False),
        # "ready", "sending", "sent", "failed", "bounced".
        Column("state", String, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("next_at", UtcTime, nullable=False),
        Column("created_at", UtcTime, nullable=False),
        Column("sent_at", UtcTime),
    )
    Index("notification_message_due", message.c.state, message.c.next_at)
    return NotificationTables(reached, notice, message)
