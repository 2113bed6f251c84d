"""Courses: pathways, plans, sessions that are moved and held."""

from datetime import time
from typing import Any

from tandem_care.local_time import Site
from tandem_care.pathways import NOTICE, shipped
from tandem_clinic.domain.staff import COORDINATION
from tandem_clinic.http import course_schemas as schemas
from tandem_clinic.http.entrance import Done, caller, clinic, perform, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.store.sites import StatedSite
from tandem_clinic.usecases import courses
from tandem_clinic.usecases.course_reading import checked
from tandem_clinic.usecases.courses import CourseView, Planned, Wish
from tandem_clinic.usecases.entries import Recorded
from tandem_platform.storage import Transaction

api = Resources("courses", __name__, __doc__)

Answer = tuple[dict[str, Any], int]


def _site(given: dict[str, Any]) -> Site:
    return checked(
        lambda: Site(
            time_zone=given["time_zone"],
            closed_weekdays=frozenset(given["closed_weekdays"]),
            closed_days=frozenset(given["closed_days"]),
        )
    )


def recorded(made: Recorded) -> dict[str, Any]:
    return {"record_id": made.record_id, "entry_ids": list(made.entry_ids), "is_new": made.is_new}


def _planned(made: Planned) -> Done:
    entry = made.plan.entry(clinic().now(), caller().display_name)
    return Done({**recorded(made.recorded), "plan": entry.to_fields(), "notice": made.plan.notice})


@api.put("/site")
@api.body(schemas.StateSite)
@api.answer(200, schemas.SiteAnswer)
def state_site(body: dict[str, Any]) -> dict[str, Any]:
    """State where the clinic works and when it is closed, for plans made from now on."""
    stated = StatedSite(_site(body), body["on_call_phone"])
    read(lambda tx: courses.state_site(tx, clinic(), caller(), stated))
    return _site_answer(stated)


@api.get("/site")
@api.answer(200, schemas.SiteAnswer)
def get_site() -> dict[str, Any]:
    """The clinic's site, as it was stated."""
    return _site_answer(read(lambda tx: courses.stated_site(tx, caller())))


def _site_answer(stated: StatedSite) -> dict[str, Any]:
    return {
        "time_zone": stated.site.time_zone,
        "closed_weekdays": sorted(stated.site.closed_weekdays),
        "closed_days": sorted(stated.site.closed_days),
        "on_call_phone": stated.on_call_phone,
    }


@api.get("/pathways")
@api.answer(200, schemas.PathwayAnswer(many=True))
def list_pathways() -> list[dict[str, Any]]:
    """The newest version of each pathway."""
    caller().require(COORDINATION)
    return [
        {
            "code": each.code,
            "version": each.version,
            "title": each.title,
            "summary": each.summary,
            "notice": NOTICE,
        }
        for each in shipped().current()
    ]


@api.post("/episodes/<episode_id>/course")
@api.body(schemas.PlanCourse)
@api.answer(201, schemas.PlannedAnswer)
def plan_course(body: dict[str, Any], episode_id: str) -> Answer:
    """Choose a pathway for an episode, and make a dated plan of it."""
    site = body.pop("partner_site")
    wish = Wish(
        **{
            **body,
            "dose_at": body["dose_at"] or time(9),
            "therapy_at": body["therapy_at"] or time(9),
            "partner_site": None if site is None else _site(site),
        }
    )
    return perform(lambda tx: _planned(courses.plan_course(tx, clinic(), caller(), episode_id, wish)), 201)


@api.get("/episodes/<episode_id>/course")
@api.answer(200, schemas.CourseAnswer)
def read_course(episode_id: str) -> dict[str, Any]:
    """Where each item of the plan stands, as far as it is on record here. Reading is noted."""
    return _view(read(lambda tx: courses.read_course(tx, clinic(), caller(), episode_id)))


def _view(view: CourseView) -> dict[str, Any]:
    plan = view.course.plan
    return {
        "plan_id": view.course.plan_id,
        "own": view.course.own,
        "pathway": plan.pathway.code,
        "pathway_version": plan.pathway.version,
        "items": [
            {
                "item": each.item.to_fields(),
                "starts_at": each.item.starts_at,
                "stand": each.stand,
                "due_at": each.due_at,
            }
            for each in view.items
        ],
        "faults": view.faults,
        "notice": plan.notice,
    }


@api.post("/episodes/<episode_id>/course/<item>/move")
@api.body(schemas.MoveSession)
@api.answer(201, schemas.PlannedAnswer)
def move_session(body: dict[str, Any], episode_id: str, item: str) -> Answer:
    """Put a session on another day. 409 names the rule that stands against it, and a day that would fit."""

    def work(tx: Transaction) -> Done:
        return _planned(
            courses.move_session(
                tx,
                clinic(),
                caller(),
                episode_id,
                item,
                body["day"],
                body["at"],
                later_too=body["later_too"],
            )
        )

    return perform(work, 201)


@api.post("/episodes/<episode_id>/course/<item>/hold")
@api.body(schemas.HoldSession)
@api.answer(201, schemas.HeldAnswer)
def hold_session(body: dict[str, Any], episode_id: str, item: str) -> Answer:
    """Record that a session of the plan was held: its times and, for the partner, a summary."""

    def work(tx: Transaction) -> Done:
        made = courses.hold_session(
            tx,
            clinic(),
            caller(),
            episode_id,
            item,
            body["started_at"],
            body["ended_at"],
            body["summary"],
        )
        return Done({"recorded": [recorded(each) for each in made]})

    return perform(work, 201)
