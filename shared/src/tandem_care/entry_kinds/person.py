"""Who the patient is, and how to reach them."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from tandem_care.categories import Category
from tandem_care.codec import Part
from tandem_care.entry_kinds.content import (
    Code,
    Content,
    Line,
    Name,
    Phone,
    Zone,
    after,
    entry_kind,
    known_zone,
)


class ContactChannel(StrEnum):
    PHONE = "phone"
    TEXT = "text"
    EMAIL = "email"
    POST = "post"
    PORTAL = "portal"


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeContact(Part):
    """A way to reach the patient, and how much may be said there."""

    channel: ContactChannel
    address: Line
    may_leave_message: bool = False
    may_name_practice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Representative(Part):
    name: Name
    relation: Name
    authority: Line
    phone: Phone | None = None
    valid_from: date
    valid_until: date | None = None

    def agree(self) -> None:
        after("valid_until", self.valid_until, self.valid_from, "valid_from")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIdentifier(Part):
    """A number that another system gave the patient, as FHIR's system and value."""

    system: Line
    value: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonToCall(Part):
    name: Name
    relation: Name
    phone: Phone


@entry_kind("identity-contact", Category.IDENTITY_CONTACT)
@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityContact(Content):
    """The demographics that a partner needs to reach the right person, safely."""

    legal_name: Name
    used_name: Name | None = None
    pronouns: Name | None = None
    birth_date: date
    time_zone: Zone
    language: Code | None = None
    interpreter_needed: bool = False
    address: Line | None = None
    safe_contact: tuple[SafeContact, ...] = ()
    emergency_contact: PersonToCall | None = None
    representative: Representative | None = None
    identifiers: tuple[ExternalIdentifier, ...] = ()

    def agree(self) -> None:
        known_zone("time_zone", self.time_zone)
