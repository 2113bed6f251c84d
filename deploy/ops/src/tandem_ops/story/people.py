"""Synthetic people and what is written about them. Nobody here exists; the numbers are kept for fiction."""

from datetime import UTC, datetime, timedelta
from typing import Any

JsonObject = dict[str, Any]

PSYCHIATRIST = "Dr. Imani Wells"
NURSE = "Noor Haddad"
THERAPIST = "Lena Fischer"

ROBIN: JsonObject = {
    "legal_name": "Robin Ashgrove Vale",
    "used_name": "Robin",
    "pronouns": "they/them",
    "birth_date": "1987-04-12",
    "time_zone": "America/Los_Angeles",
    "language": "en",
    "safe_contact": [{"channel": "text", "address": "+1 503 555 0171", "may_leave_message": True}],
}

SAM: JsonObject = {
    "legal_name": "Samuel Okafor Lind",
    "used_name": "Sam",
    "pronouns": "he/him",
    "birth_date": "1979-11-03",
    "time_zone": "America/Los_Angeles",
    "language": "en",
    "safe_contact": [{"channel": "phone", "address": "+1 503 555 0172", "may_name_practice": False}],
}

NOTE_WORDS = "cries about the lake house; countertransference; ask supervisor"
"""Of the psychotherapy note. They must turn up nowhere but at the therapist's."""

SPOKEN = (
    "Ashgrove",
    "Okafor",
    "lake house",
    "Passive thoughts",
    "148/94",
    "555 0171",
    "walks daily",
    "1987-04-12",
)
"""Names, numbers and words about the patients of the story, to search for where they should not be."""


def at(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def now() -> datetime:
    return datetime.now(UTC)


def a_dose(amount: str, session: int) -> JsonObject:
    ended = now() - timedelta(hours=26)
    started = ended - timedelta(minutes=80)
    return {
        "drug": "racemic-ketamine",
        "route": "im",
        "dose": {"amount": amount, "unit": "mg"},
        "place": "clinic",
        "started_at": at(started),
        "ended_at": at(ended),
        "discharged_at": at(ended + timedelta(minutes=15)),
        "time_zone": "America/Los_Angeles",
        "session_number": session,
        "sessions_planned": 6,
        "blood_pressure": [
            {"moment": "before", "taken_at": at(started), "systolic": 124, "diastolic": 80},
            {"moment": "before-leaving", "taken_at": at(ended), "systolic": 121, "diastolic": 78},
        ],
        "effects": [{"effect": "dissociation", "grade": "moderate"}],
        "ride": {"driver": "a friend"},
        "logged_by": NURSE,
    }


def a_phq9(total: int) -> JsonObject:
    """As even as *total* allows, the ninth item lowest."""
    values = [total // 9 + (1 if item <= total % 9 else 0) for item in range(1, 10)]
    bands = {0: "minimal", 5: "mild", 10: "moderate", 15: "moderately-severe", 20: "severe"}
    return {
        "scale": "phq-9",
        "answers": [{"item": str(item), "value": value} for item, value in enumerate(values, 1)],
        "total": total,
        "band": bands[max(low for low in bands if low <= total)],
        "risk_assessment_needed": values[8] > 0,
        "taken_at": at(now() - timedelta(hours=1)),
    }


def an_appointment(number: int, session: str = "integration") -> JsonObject:
    starts = now() + timedelta(days=number)
    return {
        "appointment_id": f"app-{number}",
        "session": session,
        "status": "booked",
        "starts_at": at(starts),
        "ends_at": at(starts + timedelta(minutes=50)),
        "time_zone": "America/Los_Angeles",
        "session_number": number,
        "sessions_planned": 6,
    }


def a_message(author: str, text: str) -> JsonObject:
    return {"author": author, "text": text}


def a_safety_risk() -> JsonObject:
    return {
        "level": "moderate",
        "course": "new",
        "assessed_at": at(now()),
        "assessed_by": PSYCHIATRIST,
        "summary": "Passive thoughts since Monday, no plan; sister informed.",
        "safety_plan_in_place": True,
    }


def a_safety_signal(on_call_number: str) -> JsonObject:
    return {"on_call_number": on_call_number}


def a_preparation_summary() -> JsonObject:
    return {
        "held_at": at(now() - timedelta(minutes=5)),
        "readiness": "ready",
        "summary": "Understands the course of a session; has set an intention.",
        "dose_feedback": "Would prefer to stay able to talk.",
        "written_by": THERAPIST,
    }


def an_integration_summary(summary: str) -> JsonObject:
    return {
        "held_at": at(now() - timedelta(minutes=5)),
        "session": "integration",
        "summary": summary,
        "written_by": THERAPIST,
    }


def a_screening_result() -> JsonObject:
    return {
        "outcome": "eligible-with-conditions",
        "reasons": [{"code": "uncontrolled-blood-pressure", "reason": "148/94 at intake"}],
        "conditions": ["Home readings below 140/90 for one week"],
        "evaluated_at": at(now() - timedelta(minutes=5)),
        "expires_at": at(now() + timedelta(days=90)),
        "evaluated_by": PSYCHIATRIST,
    }


def a_form(patient: JsonObject, discloser: str, recipient: str, information: str) -> JsonObject:
    """A written consent with every element of 42 CFR 2.31(a)."""
    return {
        "patient": patient["legal_name"],
        "discloser": discloser,
        "information": information,
        "recipient": recipient,
        "purpose": "treatment",
        "right_to_revoke": "At any time, by telling either practice; what was done in reliance on it stands.",
        "expiry": "none",
        "signed_by": patient["legal_name"],
        "signature_ref": "scan-0001",
        "signed_on": at(now() - timedelta(days=1))[:10],
    }
