"""One valid example of every kind of entry."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tandem_care import entry_kinds as kinds
from tandem_care import scales, screening

NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def a_phq9(total: int = 18, taken_at: datetime = NINE) -> kinds.ScaleScore:
    """A complete PHQ-9 whose items are as even as *total* allows, the ninth lowest."""
    answers = {str(item): total // 9 + (1 if item <= total % 9 else 0) for item in range(1, 10)}
    return kinds.ScaleScore.scored(scales.PHQ9, answers, taken_at)


def a_dosing_session(**changes: Any) -> kinds.DosingSession:
    fields: dict[str, Any] = {
        "drug": kinds.Drug.RACEMIC_KETAMINE,
        "route": kinds.Route.INTRAMUSCULAR,
        "dose": kinds.Dose(amount=Decimal("52.5"), unit=kinds.DoseUnit.MG),
        "lot": "LOT-7731",
        "place": kinds.Place.CLINIC,
        "started_at": NINE,
        "ended_at": NINE + timedelta(minutes=75),
        "discharged_at": NINE + timedelta(minutes=130),
        "time_zone": "America/Denver",
        "session_number": 2,
        "sessions_planned": 6,
        "blood_pressure": (
            a_blood_pressure(kinds.VitalsMoment.BEFORE, 0),
            a_blood_pressure(kinds.VitalsMoment.AT_40_MINUTES, 40),
            a_blood_pressure(kinds.VitalsMoment.BEFORE_LEAVING, 120),
        ),
        "oxygen_saturation": (kinds.OxygenSaturation(taken_at=NINE, percent=98),),
        "effects": (
            kinds.ObservedEffect(
                effect=kinds.Effect.DISSOCIATION, grade=kinds.Grade.MODERATE, observed_at=NINE
            ),
            kinds.ObservedEffect(
                effect=kinds.Effect.NAUSEA, grade=kinds.Grade.MILD, note="settled by itself"
            ),
        ),
        "attendants": (kinds.Attendant(name="Noor Haddad", role="nurse"),),
        "ride": kinds.Ride(driver="Sam Ortiz", phone="+1 303 555 0144"),
        "logged_by": "Noor Haddad",
        "note": "Calm throughout.",
    }
    return kinds.DosingSession(**(fields | changes))


def a_blood_pressure(moment: kinds.VitalsMoment, minutes: int) -> kinds.BloodPressure:
    return kinds.BloodPressure(
        moment=moment, taken_at=NINE + timedelta(minutes=minutes), systolic=128, diastolic=82
    )


def a_prescription(**changes: Any) -> kinds.Prescription:
    fields: dict[str, Any] = {
        "drug": kinds.Drug.RACEMIC_KETAMINE,
        "route": kinds.Route.SUBLINGUAL,
        "dose": kinds.Dose(amount=Decimal(150), unit=kinds.DoseUnit.MG),
        "directions": "One tablet under the tongue, with the therapist present.",
        "place": kinds.Place.THERAPIST_OFFICE,
        "sessions": 4,
        "supply_count": 4,
        "prescribed_at": NINE,
        "expires_at": NINE + timedelta(days=60),
        "prescribed_by": "Dr. Imani Wells",
    }
    return kinds.Prescription(**(fields | changes))


def one_of_every_kind() -> dict[str, kinds.Content]:
    a_call = kinds.PersonToCall(name="Sam Ortiz", relation="brother", phone="+1 303 555 0144")
    examples: list[kinds.Content] = [
        kinds.IdentityContact(
            legal_name="Maria Alvarez Ortiz",
            used_name="Mari",
            pronouns="she/her",
            birth_date=date(1984, 5, 17),
            time_zone="America/Denver",
            language="es",
            interpreter_needed=True,
            address="12 Larkspur Way, Boulder, CO",
            safe_contact=(
                kinds.SafeContact(
                    channel=kinds.ContactChannel.TEXT, address="+1 303 555 0101", may_leave_message=True
                ),
            ),
            emergency_contact=a_call,
            representative=kinds.Representative(
                name="Sam Ortiz",
                relation="brother",
                authority="health care proxy",
                valid_from=date(2025, 1, 1),
                valid_until=date(2027, 1, 1),
            ),
            identifiers=(kinds.ExternalIdentifier(system="urn:oid:1.2.840.1", value="MRN 4471"),),
        ),
        kinds.ReferralNote(referral_id="ref_abc", move="decline", text="We hope to have room in May."),
        kinds.ScreeningResult(
            outcome=screening.Outcome.ELIGIBLE_WITH_CONDITIONS,
            reasons=(kinds.ScreeningReason(code="uncontrolled-blood-pressure", reason="145/92 at intake"),),
            conditions=("Home readings below 140/90 for a week",),
            evaluated_at=NINE,
            expires_at=NINE + timedelta(days=90),
            evaluated_by="Dr. Imani Wells",
        ),
        kinds.DiagnosisSummary(
            diagnoses=(
                kinds.Diagnosis(
                    system="icd-10-cm", code="F33.2", text="Recurrent depression, severe", primary=True
                ),
            ),
            stated_on=date(2026, 2, 20),
            stated_by="Dr. Imani Wells",
            summary="Two adequate trials of medication without relief.",
        ),
        kinds.LabResult(test="ALT", value="22", unit="U/L", flag=kinds.ResultFlag.NORMAL, collected_at=NINE),
        a_prescription(),
        kinds.MedicationList(
            medications=(kinds.Medication(name="Lamotrigine", dose="100 mg", schedule="at night"),),
            no_known_allergies=True,
            reviewed_at=NINE,
            reviewed_by="Noor Haddad",
        ),
        kinds.MedicationHoldInstruction(
            medication="Clonazepam",
            hold_from=NINE,
            resume_at=NINE + timedelta(days=1),
            instruction="Skip the evening dose before the session.",
            ordered_by="Dr. Imani Wells",
        ),
        a_dosing_session(),
        kinds.Vitals(
            blood_pressure=(a_blood_pressure(kinds.VitalsMoment.OTHER, 0),),
            self_read=True,
            logged_by="patient",
        ),
        kinds.DosingClearance(
            session_at=NINE,
            expires_at=NINE + timedelta(hours=12),
            drug=kinds.Drug.RACEMIC_KETAMINE,
            route=kinds.Route.INTRAMUSCULAR,
            highest_dose=kinds.Dose(amount=Decimal(60), unit=kinds.DoseUnit.MG),
            place=kinds.Place.CLINIC,
            pathway="two-practice-course",
            guards=(
                kinds.Guard(code="preparation-done", state=kinds.GuardState.MET),
                kinds.Guard(
                    code="ride",
                    state=kinds.GuardState.ATTESTED,
                    reason="The therapist's office confirmed by phone.",
                    by="Noor Haddad",
                ),
            ),
            cleared_at=NINE - timedelta(days=1),
            cleared_by="Dr. Imani Wells",
        ),
        kinds.AdverseEvent(
            event="Blood pressure 182/108",
            grade=kinds.AdverseGrade.MODERATE,
            began_at=NINE,
            resolved_at=NINE + timedelta(minutes=30),
            action="Observed, resolved without medication.",
            reported_by="Noor Haddad",
        ),
        a_phq9(),
        kinds.SafetyRisk(
            level=kinds.RiskLevel.MODERATE,
            course=kinds.Course.NEW,
            assessed_at=NINE,
            assessed_by="Lena Fischer",
            summary="Passive thoughts since Monday, no plan.",
            plan="Call on Thursday; brother informed.",
            safety_plan_in_place=True,
        ),
        kinds.SafetySignal(on_call_number="+1 303 555 0199"),
        kinds.TreatmentPlan(
            pathway="two-practice-course",
            goals=("Return to work part time",),
            intentions=("Meet grief with less fear",),
            sessions_planned=6,
            starts_on=date(2026, 3, 2),
            agreed_at=NINE,
            agreed_by="Lena Fischer",
        ),
        kinds.PreparationSummary(
            held_at=NINE,
            readiness=kinds.Readiness.READY,
            summary="Understands the course of a session; has set an intention.",
            dose_feedback="Would prefer to stay able to talk.",
            written_by="Lena Fischer",
        ),
        kinds.IntegrationSummary(
            held_at=NINE + timedelta(days=1),
            session=kinds.IntegrationKind.INTEGRATION,
            dosing_session_at=NINE,
            summary="Less avoidance; slept through for the first time in weeks.",
            functional_status="Back to walking daily.",
            next_steps="Journal before the next session.",
            written_by="Lena Fischer",
        ),
        kinds.HomeworkPractice(practice="Ten minutes of journaling", given_at=NINE, until=date(2026, 3, 9)),
        kinds.ModalityFrequency(
            modality="Acceptance and commitment therapy",
            every_days=7,
            session_minutes=50,
            starts_on=date(2026, 3, 2),
        ),
        kinds.SessionTimes(
            item="integration-1",
            session=kinds.SessionKind.INTEGRATION,
            started_at=NINE,
            ended_at=NINE + timedelta(minutes=50),
        ),
        kinds.Appointment(
            appointment_id="app-17",
            session=kinds.SessionKind.DOSING,
            status=kinds.AppointmentStatus.BOOKED,
            starts_at=NINE,
            ends_at=NINE + timedelta(hours=2),
            time_zone="America/Denver",
            location="Site 2, room 4",
            session_number=2,
            sessions_planned=6,
        ),
        kinds.CourseReport(
            referral_id="ref_17",
            stage=kinds.ReportStage.INTERIM,
            from_date=date(2026, 3, 2),
            to_date=date(2026, 4, 2),
            sessions_held=3,
            sessions_planned=6,
            summary="Sleeps better; back at work two days a week.",
            recommendations="Go on as planned.",
            written_by="Lena Fischer",
        ),
        kinds.Logistics(
            session_at=NINE,
            ride=kinds.Arrangement.ARRANGED,
            ride_home=kinds.Ride(driver="Sam Ortiz"),
            support=kinds.Arrangement.ARRANGED,
            support_person=a_call,
            no_food_from=NINE - timedelta(hours=4),
            note="Door code changes on Monday.",
        ),
        kinds.CoveragePayment(
            status=kinds.CoverageStatus.ACTIVE, payer="Front Range Health", sessions_authorized=6
        ),
        kinds.Message(author="Lena Fischer", text="She asked to start a quarter of an hour later."),
        kinds.SubstanceUseSummary(
            summary="Alcohol use disorder, in remission for two years.",
            in_treatment=False,
            stated_at=NINE,
            stated_by="Dr. Imani Wells",
        ),
        kinds.SensitiveSummary(
            topic=kinds.SensitiveTopic.VIOLENCE,
            summary="Safe at present; do not call the home line.",
            stated_at=NINE,
            stated_by="Lena Fischer",
        ),
        kinds.TreatmentConsent(
            drug=kinds.Drug.RACEMIC_KETAMINE,
            explained=tuple(kinds.ConsentPoint),
            signed_at=NINE,
            signed_by="Maria Alvarez Ortiz",
            taken_by="Dr. Imani Wells",
            expires_at=NINE + timedelta(days=365),
        ),
        kinds.RemsEnrolment(program="spravato", enrolled_on=NINE.date(), recorded_by="Noor Haddad"),
        kinds.DosingStart(
            started_at=NINE,
            time_zone="America/Denver",
            cleared_session_at=NINE,
            drug=kinds.Drug.RACEMIC_KETAMINE,
            route=kinds.Route.INTRAMUSCULAR,
            dose=kinds.Dose(amount=Decimal("52.5"), unit=kinds.DoseUnit.MG),
            place=kinds.Place.CLINIC,
            pathway="two-practice-course",
            pathway_version=1,
            guards=(kinds.Guard(code="fasting", state=kinds.GuardState.MET),),
            started_by="Noor Haddad",
        ),
        kinds.MonitoringForm(
            form="rems-monitoring-form",
            dosing_session_at=NINE,
            submitted_at=NINE + timedelta(days=2),
            submitted_by="Noor Haddad",
            reference="4471-2",
        ),
        kinds.MaintenanceCheck(
            subject=kinds.CheckSubject.BLADDER,
            finding=kinds.CheckFinding.CONCERN,
            checked_at=NINE,
            checked_by="Dr. Imani Wells",
            note="Urgency since May; referred to urology.",
            next_due_on=date(2026, 4, 2),
        ),
        kinds.MisuseCheck(
            finding=kinds.CheckFinding.NO_CONCERN,
            checked_at=NINE,
            checked_by="Dr. Imani Wells",
            note="No use outside sessions.",
        ),
        kinds.DoseFeedback(
            dosing_session_at=NINE,
            wish=kinds.DoseWish.LOWER,
            dialogue_possible=False,
            note="Too deep for words until the end.",
            given_at=NINE + timedelta(days=1),
            given_by="Lena Fischer",
        ),
        kinds.DoseDecision(
            dosing_session_at=NINE,
            decision=kinds.DoseWish.LOWER,
            next_dose=kinds.Dose(amount=Decimal(45), unit=kinds.DoseUnit.MG),
            reason="A little less, so that there is room to talk.",
            decided_at=NINE + timedelta(days=2),
            decided_by="Dr. Imani Wells",
        ),
        kinds.CoursePlan(
            pathway="two-practice-course",
            pathway_version=1,
            drug=kinds.Drug.RACEMIC_KETAMINE,
            route=kinds.Route.INTRAMUSCULAR,
            place=kinds.Place.CLINIC,
            items=(
                kinds.PlannedItem(
                    item="dose-1",
                    kind=kinds.ItemKind.DOSE,
                    number=1,
                    phase="course",
                    day=NINE.date(),
                    at="09:30",
                    time_zone="America/Denver",
                    minutes=90,
                    earliest_at=NINE,
                    latest_at=NINE + timedelta(days=30),
                ),
            ),
            dosing=kinds.OpenDays(time_zone="America/Denver", closed_weekdays=(5, 6)),
            therapy=kinds.OpenDays(time_zone="America/Chicago", closed_days=(NINE.date(),)),
            planned_at=NINE,
            planned_by="Dr. Imani Wells",
        ),
        kinds.SessionCheck(
            checked_at=NINE,
            last_food_at=NINE - timedelta(hours=10),
            last_liquid_at=NINE - timedelta(hours=3),
            attendants=(kinds.Attendant(name="Noor Haddad", role="nurse"),),
            prescriber_on_site="Dr. Imani Wells",
            video_therapist="Lena Fischer",
            checked_by="Noor Haddad",
        ),
        kinds.SupplyCounted(counted_at=NINE, found=3, expected=3, on_video=True, counted_by="Noor Haddad"),
        kinds.MedicationPause(asked_at=NINE, paused=("lamotrigine",), asked_by="Noor Haddad"),
        kinds.LabReview(
            reviewed_at=NINE,
            outstanding=("liver panel",),
            note="Drawn on Friday.",
            reviewed_by="Dr. Imani Wells",
        ),
        kinds.CertifiedSetting(
            program="spravato-rems",
            setting="Juniper Psychiatry, second floor",
            certified_on=NINE.date(),
            ended_on=NINE.date() + timedelta(days=400),
            recorded_by="Dr. Imani Wells",
        ),
    ]
    return {example.kind: example for example in examples}
