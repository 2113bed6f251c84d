"""How a course went: on the way, and at its end."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from tandem_care.categories import Category
from tandem_care.entry_kinds.content import Code, Content, Name, Note, Sessions, Words, entry_kind
from tandem_care.errors import Invalid


class ReportStage(StrEnum):
    INTERIM = "interim"
    FINAL = "final"


@entry_kind("course-report", Category.PROGRESS_SUMMARY)
@dataclass(frozen=True, slots=True, kw_only=True)
class CourseReport(Content):
    """What the referrer hears back: never the notes of a session."""

    referral_id: Code | None = None
    stage: ReportStage
    from_date: date
    to_date: date
    sessions_held: Sessions | None = None
    sessions_planned: Sessions | None = None
    summary: Words
    recommendations: Note | None = None
    written_by: Name

    def agree(self) -> None:
        if self.to_date < self.from_date:
            raise Invalid("to_date", "must not lie before from_date")
