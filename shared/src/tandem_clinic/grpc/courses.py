"""CourseService."""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any

from tandem.clinic.v1 import course_pb2 as pb
from tandem_care.codec import Part
from tandem_care.entry_kinds import Dose, DoseWish, Drug, Place, Respondent, Route
from tandem_care.errors import Invalid
from tandem_care.local_time import Site
from tandem_care.plans import Pace
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.grpc.entrance import staff_of
from tandem_clinic.grpc.translation import json_fields
from tandem_clinic.hub.times import put_time, time_in
from tandem_clinic.store.sites import StatedSite
from tandem_clinic.usecases import courses, dose_feedback, dosing, measures
from tandem_clinic.usecases.course_reading import checked
from tandem_clinic.usecases.courses import Planned, Wish
from tandem_clinic.usecases.dosing import Spoken, Words
from tandem_platform.rpc.dispatch import Call
from tandem_platform.storage import Transaction


def _day(text: str, field: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ContentInvalid(Invalid(field, "must be a date such as 2026-03-02")) from None


def _clock(text: str, field: str) -> time | None:
    try:
        found = time.fromisoformat(text) if text else None
    except ValueError:
        found = time.max
    if found is not None and (found.tzinfo is not None or found.second or found.microsecond):
        raise ContentInvalid(Invalid(field, "must be a time such as 09:30"))
    return found


def _moment(message: Any, field: str) -> datetime:
    found = time_in(message, field)
    if found is None:
        raise ContentInvalid(Invalid(field, "is required"))
    return found.astimezone(UTC)


def _choice(kind: Any, text: str, field: str) -> Any:
    if text not in list(kind):
        raise ContentInvalid(Invalid(field, f"must be one of {', '.join(kind)}"))
    return kind(text)


def _chosen(kind: Any, text: str, field: str) -> Any:
    return _choice(kind, text, field) if text else None


def _site(given: pb.OpenDays, field: str) -> Site:
    days = [_day(text, f"{field}.closed_days") for text in given.closed_days]
    return checked(
        lambda: Site(
            time_zone=given.time_zone,
            closed_weekdays=frozenset(given.closed_weekdays),
            closed_days=frozenset(days),
        ),
        field,
    )


def _dose(given: pb.CourseDose, field: str = "dose") -> Dose:
    return checked(lambda: Dose.from_fields({"amount": given.amount, "unit": given.unit}), field)


def _words(attested: Iterable[pb.GuardWord], overridden: Iterable[pb.GuardWord]) -> Words:
    def said(words: Iterable[pb.GuardWord]) -> list[Spoken]:
        return [Spoken(each.guard, each.reason, each.by) for each in words]

    return Words(attested=said(attested), overridden=said(overridden))


class CourseServicer:
    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic

    def StateSite(self, request: pb.StateSiteRequest, call: Call) -> pb.StateSiteResponse:
        stated = StatedSite(_site(request.site, "site"), request.on_call_phone)
        courses.state_site(call.tx, self._clinic, staff_of(call.tx, call), stated)
        return pb.StateSiteResponse()

    def PlanCourse(self, request: pb.PlanCourseRequest, call: Call) -> pb.PlanCourseResponse:
        wish = Wish(
            pathway=request.pathway,
            version=request.version or None,
            start=_day(request.start, "start"),
            drug=_chosen(Drug, request.drug, "drug"),
            route=_chosen(Route, request.route, "route"),
            place=_chosen(Place, request.place, "place"),
            sessions=dict(request.sessions) or None,
            pace=_chosen(Pace, request.pace, "pace") or Pace.USUAL,
            dose_at=_clock(request.dose_at, "dose_at") or time(9),
            therapy_at=_clock(request.therapy_at, "therapy_at") or time(9),
            partner_site=_site(request.partner_site, "partner_site")
            if request.HasField("partner_site")
            else None,
        )
        by = staff_of(call.tx, call)
        made = courses.plan_course(call.tx, self._clinic, by, request.episode_id, wish)
        return pb.PlanCourseResponse(
            record_id=made.recorded.record_id,
            entry_ids=made.recorded.entry_ids,
            plan_json=self._plan(made, by.display_name),
        )

    def _plan(self, made: Planned, by: str) -> str:
        entry: Part = made.plan.entry(self._clinic.now(), by)
        return json.dumps(entry.to_fields())

    def ReadCourse(self, request: pb.ReadCourseRequest, call: Call) -> pb.ReadCourseResponse:
        def work(tx: Transaction) -> courses.CourseView:
            return courses.read_course(tx, self._clinic, staff_of(tx, call), request.episode_id)

        view = self._clinic.db.run(work)
        pathway = view.course.plan.pathway
        response = pb.ReadCourseResponse(
            plan_id=view.course.plan_id,
            own=view.course.own,
            pathway=pathway.code,
            pathway_version=pathway.version,
        )
        for each in view.items:
            item = response.items.add(item=each.item.item, kind=each.item.kind, stand=each.stand)
            put_time(item, "starts_at", each.item.starts_at)
            put_time(item, "due_at", each.due_at)
        return response

    def MoveSession(self, request: pb.MoveSessionRequest, call: Call) -> pb.MoveSessionResponse:
        by = staff_of(call.tx, call)
        made = courses.move_session(
            call.tx,
            self._clinic,
            by,
            request.episode_id,
            request.item,
            _day(request.day, "day"),
            _clock(request.at, "at"),
            later_too=request.later_too,
        )
        return pb.MoveSessionResponse(
            record_id=made.recorded.record_id,
            entry_ids=made.recorded.entry_ids,
            plan_json=self._plan(made, by.display_name),
        )

    def HoldSession(self, request: pb.HoldSessionRequest, call: Call) -> pb.HoldSessionResponse:
        made = courses.hold_session(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.episode_id,
            request.item,
            _moment(request, "started_at"),
            _moment(request, "ended_at"),
            json_fields(request.summary_json, "summary_json") if request.summary_json else None,
        )
        return pb.HoldSessionResponse(record_ids=[each.record_id for each in made])

    def AskGuards(self, request: pb.AskGuardsRequest, call: Call) -> pb.AskGuardsResponse:
        dose = _dose(request.dose)
        found = self._clinic.db.run(
            lambda tx: dosing.ask_guards(
                tx, self._clinic, staff_of(tx, call), request.episode_id, request.item, dose
            )
        )
        return pb.AskGuardsResponse(
            findings=[
                pb.GuardFinding(
                    guard=each.guard,
                    state=each.state,
                    reason=each.reason,
                    way_out=each.way_out,
                    never_overridden=each.never_overridden or "",
                )
                for each in found
            ]
        )

    def SignClearance(self, request: pb.SignClearanceRequest, call: Call) -> pb.SignClearanceResponse:
        made = dosing.sign_clearance(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.episode_id,
            request.item,
            _dose(request.dose),
            _dose(request.highest_dose, "highest_dose") if request.HasField("highest_dose") else None,
            _words(request.attested, request.overridden),
        )
        response = pb.SignClearanceResponse(
            record_id=made.recorded.record_id, entry_ids=made.recorded.entry_ids
        )
        put_time(response, "expires_at", made.clearance.expires_at)
        return response

    def StartSession(self, request: pb.StartSessionRequest, call: Call) -> pb.StartSessionResponse:
        made = dosing.start_session(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.episode_id,
            request.item,
            _dose(request.dose),
            _words(request.attested, request.overridden),
        )
        response = pb.StartSessionResponse(
            record_id=made.recorded.record_id, entry_ids=made.recorded.entry_ids
        )
        put_time(response, "started_at", made.start.started_at)
        return response

    def RecordMeasure(self, request: pb.RecordMeasureRequest, call: Call) -> pb.RecordMeasureResponse:
        made = measures.record_measure(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.patient_id,
            request.scale,
            dict(request.answers),
            _moment(request, "taken_at"),
            respondent=_chosen(Respondent, request.respondent, "respondent") or Respondent.PATIENT,
            thresholds=request.thresholds or None,
        )
        change = made.change
        return pb.RecordMeasureResponse(
            record_id=made.recorded.record_id,
            entry_ids=made.recorded.entry_ids,
            total=made.score.total,
            band=made.score.band or "",
            missing=made.score.missing,
            risk_assessment_needed=made.score.risk_assessment_needed,
            attention=made.attention,
            drop=None if change is None else change.drop,
            response=None if change is None else change.response,
            remission=None if change is None else change.remission,
        )

    def GiveDoseFeedback(
        self, request: pb.GiveDoseFeedbackRequest, call: Call
    ) -> pb.GiveDoseFeedbackResponse:
        made = dose_feedback.give_dose_feedback(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.episode_id,
            _moment(request, "dosing_session_at"),
            _choice(DoseWish, request.wish, "wish"),
            dialogue_possible=request.dialogue_possible if request.HasField("dialogue_possible") else None,
            note=request.note or None,
        )
        return pb.GiveDoseFeedbackResponse(record_id=made.record_id, entry_ids=made.entry_ids)

    def DecideDose(self, request: pb.DecideDoseRequest, call: Call) -> pb.DecideDoseResponse:
        made = dose_feedback.decide_dose(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.episode_id,
            _moment(request, "dosing_session_at"),
            _choice(DoseWish, request.decision, "decision"),
            _dose(request.next_dose, "next_dose"),
            request.reason,
        )
        return pb.DecideDoseResponse(record_id=made.record_id, entry_ids=made.entry_ids)
