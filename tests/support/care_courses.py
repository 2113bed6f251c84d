"""A course that goes as planned: what is on record when each of its doses is to begin."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tandem_care import entry_kinds as kinds
from tandem_care.clocks import Given
from tandem_care.guards import Facts, Session, SupplyCount
from tandem_care.local_time import Site
from tandem_care.pathways import Medicine, Pathway, shipped
from tandem_care.plans import Plan
from tandem_care.risk import Risk
from tandem_care.scales import ScaleCode
from tandem_care.screening import Outcome

DENVER = Site(time_zone="America/Denver", closed_weekdays=frozenset({5, 6}))
CHICAGO = Site(time_zone="America/Chicago", closed_weekdays=frozenset({5, 6}))
DOSE = kinds.Dose(amount=Decimal(56), unit=kinds.DoseUnit.MG)
PATHWAYS = shipped().current()
A_CALL = kinds.PersonToCall(name="Sam Ortiz", relation="brother", phone="+1 303 555 0144")


def every_way(pathway: Pathway) -> list[tuple[Medicine, kinds.Route, kinds.Place]]:
    return [
        (each, route, place) for each in pathway.medicines for route in each.routes for place in each.places
    ]


def a_prescription_for(session: Session, **changes: Any) -> kinds.Prescription:
    fields: dict[str, Any] = {
        "drug": session.drug,
        "route": session.route,
        "place": session.place,
        "dose": session.dose,
        "directions": "As agreed in preparation.",
        "prescribed_at": session.at - timedelta(days=300),
        "expires_at": session.at + timedelta(days=300),
        "prescribed_by": "Dr. Imani Wells",
    }
    return kinds.Prescription(**(fields | changes))


def a_consent_to(session: Session, **changes: Any) -> kinds.TreatmentConsent:
    fields: dict[str, Any] = {
        "drug": session.drug,
        "explained": tuple(kinds.ConsentPoint),
        "signed_at": session.at - timedelta(days=300),
        "signed_by": "Maria Alvarez Ortiz",
        "taken_by": "Dr. Imani Wells",
    }
    return kinds.TreatmentConsent(**(fields | changes))


def an_evaluation(now: datetime, **changes: Any) -> kinds.ScreeningResult:
    fields: dict[str, Any] = {
        "outcome": Outcome.ELIGIBLE,
        "evaluated_at": now - timedelta(days=10),
        "expires_at": now + timedelta(days=30),
        "evaluated_by": "Dr. Imani Wells",
    }
    return kinds.ScreeningResult(**(fields | changes))


def arrangements_for(session: Session, **changes: Any) -> kinds.Logistics:
    fields: dict[str, Any] = {
        "session_at": session.at,
        "ride": kinds.Arrangement.ARRANGED,
        "ride_home": kinds.Ride(driver="Sam Ortiz"),
        "support": kinds.Arrangement.ARRANGED,
        "support_person": A_CALL,
        "chaperone": A_CALL,
        "address": "12 Larkspur Way, Boulder, CO",
    }
    return kinds.Logistics(**(fields | changes))


def a_preparation(held_at: datetime, **changes: Any) -> kinds.PreparationSummary:
    fields: dict[str, Any] = {
        "held_at": held_at,
        "readiness": kinds.Readiness.READY,
        "summary": "Ready.",
        "written_by": "Lena Fischer",
    }
    return kinds.PreparationSummary(**(fields | changes))


def an_integration(dose_at: datetime | None, held_at: datetime) -> kinds.IntegrationSummary:
    return kinds.IntegrationSummary(
        held_at=held_at,
        session=kinds.IntegrationKind.INTEGRATION,
        dosing_session_at=dose_at,
        summary="Held.",
        written_by="Lena Fischer",
    )


def a_pressure(taken_at: datetime, systolic: int = 140, diastolic: int = 90) -> kinds.BloodPressure:
    return kinds.BloodPressure(
        moment=kinds.VitalsMoment.BEFORE, taken_at=taken_at, systolic=systolic, diastolic=diastolic
    )


def facts_of(plan: Plan, session: Session, now: datetime) -> Facts:
    """What is on record at *now* if everything before it went as *plan* says, and no more than that."""
    past = [each for each in plan.items if each.starts_at <= now]
    doses = tuple(
        Given(each.starts_at, each.ends_at, each.time_zone)
        for each in past
        if each.kind is kinds.ItemKind.DOSE and each.starts_at < session.at
    )
    preparations = [each for each in past if each.kind is kinds.ItemKind.PREPARATION]
    screens = [each.starts_at for each in past if each.subject == ScaleCode.CSSRS]
    fasting = plan.medicine.fasting
    return Facts(
        therapist="Lena Fischer",
        preparation=a_preparation(preparations[-1].starts_at) if preparations else None,
        consent=a_consent_to(session),
        prescriptions=(a_prescription_for(session),),
        screening=an_evaluation(now),
        doses=doses,
        integrations=tuple(
            an_integration(plan.item(each.follows or "").starts_at, each.starts_at)
            for each in past
            if each.kind is kinds.ItemKind.INTEGRATION
        ),
        labs_outstanding=(),
        holds=(),
        risk=Risk(None, max(screens), ScaleCode.CSSRS) if screens else None,
        blood_pressure=(a_pressure(now - timedelta(minutes=20)),),
        last_food_at=None if fasting is None else now - timedelta(minutes=fasting.food_minutes),
        last_liquid_at=None if fasting is None else now - timedelta(minutes=fasting.liquid_minutes or 0),
        logistics=arrangements_for(session),
        attendants=(kinds.Attendant(name="Noor Haddad", role="nurse"),),
        video_therapist="Lena Fischer",
        supply=SupplyCount(now, 3, 3),
        rems=kinds.RemsEnrolment(program="spravato", enrolled_on=date(2020, 1, 1), recorded_by="Noor Haddad"),
        setting_certified=True,
        prescriber_on_site="Dr. Imani Wells",
    )
