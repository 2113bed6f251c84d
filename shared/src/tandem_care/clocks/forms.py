"""The form that a safety programme wants after every session."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from tandem_care import local_time
from tandem_care.clocks.given import Given, Standing, standing
from tandem_care.entry_kinds import MonitoringForm
from tandem_care.pathways import FormRule


def form_due_by(rule: FormRule, dose: Given) -> datetime:
    """The end of the last day: SPRAVATO REMS, within seven days of every session."""
    return local_time.end_of(dose.day + timedelta(days=rule.within_days), dose.time_zone)


def form_standing(
    rule: FormRule, dose: Given, submitted: Iterable[MonitoringForm], now: datetime
) -> Standing:
    done = any(
        each.form == rule.form and each.dosing_session_at == dose.started_at and each.submitted_at <= now
        for each in submitted
    )
    return standing(dose.ended_at, form_due_by(rule, dose), done, now)
