"""Pathway files are read strictly, kept by version, and say what the published models say."""

from importlib import resources

import pytest

from support.care_courses import PATHWAYS
from tandem_care.entry_kinds import Drug, Effect, Place, Route
from tandem_care.errors import Invalid
from tandem_care.pathways import (
    MISUSE,
    NOTICE,
    Care,
    Catalogue,
    GuardCode,
    Limit,
    PathwayFault,
    read_pathway,
    shipped,
    shipped_files,
    with_own,
)

every_pathway = pytest.mark.parametrize("pathway", PATHWAYS, ids=lambda pathway: pathway.code)


def text_of(code: str) -> str:
    return dict(shipped_files())[f"{code}.toml"]


def test_the_five_models_of_care_and_both_kinds_of_maintenance_are_shipped():
    assert {(each.code, each.care) for each in PATHWAYS} == {
        ("two-practice-course", Care.COURSE),
        ("supported-at-home", Care.COURSE),
        ("four-to-eight-sessions", Care.COURSE),
        ("retreat-intensive", Care.COURSE),
        ("therapist-office", Care.COURSE),
        ("ketamine-maintenance", Care.MAINTENANCE),
        ("esketamine-rems", Care.MAINTENANCE),
    }


@every_pathway
def test_every_pathway_cites_its_sources_and_has_a_version(pathway):
    assert pathway.sources
    assert pathway.version >= 1
    assert NOTICE == "Decision support; the clinician decides."


@every_pathway
def test_every_pathway_has_the_guards_that_all_have_in_common(pathway):
    listed = {rule.guard for rule in pathway.guards}
    assert listed >= {
        GuardCode.THERAPIST,
        GuardCode.CONSENT,
        GuardCode.PRESCRIPTION,
        GuardCode.SCREENING,
        GuardCode.BLOOD_PRESSURE,
        GuardCode.FASTING,
        GuardCode.RISK_SCREEN,
        GuardCode.RIDE,
        GuardCode.SUPPORT_PERSON,
        GuardCode.ATTENDANT,
        GuardCode.SCHEDULE,
    }
    assert (GuardCode.PREPARATION in listed) == (pathway.preparation is not None)


def test_the_retreat_is_as_published():
    retreat = shipped().of("retreat-intensive")
    phase, integration, medicine = retreat.phases[0], retreat.integration, retreat.medicines[0]
    assert (phase.fewest, phase.most) == (4, 6)
    assert Limit(doses=3, days=7) in phase.densest
    assert (integration.same_day_debrief, integration.due_days, integration.deadline_days) == (True, 1, 3)
    assert set(medicine.routes) >= {Route.INTRAVENOUS, Route.INTRAMUSCULAR, Route.INTRANASAL}
    assert medicine.fasting is not None
    assert medicine.fasting.food_minutes == 240


def test_the_course_of_four_to_eight_integrates_each_dose_before_the_next():
    four = shipped().of("four-to-eight-sessions")
    assert (four.phases[0].fewest, four.phases[0].most) == (4, 8)
    assert four.integration.before_next_dose
    assert (four.medicines[0].session_minutes.shortest, four.medicines[0].session_minutes.longest) == (45, 90)


def test_the_office_gives_tablets_in_sessions_of_two_hours():
    medicine = shipped().of("therapist-office").medicines[0]
    assert (medicine.routes, medicine.places) == ((Route.RAPID_DISSOLVE_TABLET,), (Place.THERAPIST_OFFICE,))
    assert medicine.session_minutes.longest == 120


def test_esketamine_is_as_the_rems_wants_it():
    rems = shipped().of("esketamine-rems")
    medicine = rems.medicine(Drug.ESKETAMINE)
    assert medicine.observation.minutes == 120
    assert set(medicine.observation.resolved) == {
        Effect.SEDATION,
        Effect.DISSOCIATION,
        Effect.RESPIRATORY_DEPRESSION,
    }
    assert medicine.form is not None
    assert medicine.form.within_days == 7
    assert medicine.fasting is not None
    assert (medicine.fasting.food_minutes, medicine.fasting.liquid_minutes) == (120, 30)
    assert [phase.usual for phase in rems.phases] == [8, 4, 4]
    assert Limit(doses=2, days=7) in rems.phases[0].densest
    assert rems.phases[1].densest == (Limit(doses=1, days=7),)
    pressure = rems.guard(GuardCode.BLOOD_PRESSURE)
    assert (pressure.systolic, pressure.diastolic) == (140, 90)


def test_maintenance_checks_bladder_memory_and_misuse():
    for pathway in PATHWAYS:
        if pathway.care is Care.MAINTENANCE:
            assert {each.subject for each in pathway.checks} >= {"bladder", "memory", MISUSE}


@pytest.mark.parametrize(
    ("code", "old", "new", "field"),
    [
        ("retreat-intensive", 'care = "course"', 'care = "spa"', "care"),
        ("retreat-intensive", "every_days = 3", "every_days = 0", "phases[0].every_days"),
        ("retreat-intensive", "every_days = 3", "every_days = 1", "phases[0].every_days"),
        ("retreat-intensive", "fewest = 4", "fewest = 7", "phases[0].usual"),
        ("retreat-intensive", "doses = 3, days = 7", "doses = 3, days = 7.5", "phases[0].densest[0].days"),
        ("retreat-intensive", "deadline_days = 3", "deadline_days = 0", "integration.deadline_days"),
        (
            "retreat-intensive",
            "book_within_hours = 12",
            "book_within_hours = 80",
            "integration.book_within_hours",
        ),
        ("retreat-intensive", "rest_hours = 24", "rest_hours = 12", "medicines[0].rest_hours"),
        ("retreat-intensive", "rest_hours = 24\n", "", "medicines[0].rest_hours"),
        (
            "retreat-intensive",
            "minutes = 120\nresolved",
            "minutes = 30\nresolved",
            "medicines[0].observation.minutes",
        ),
        ("retreat-intensive", "systolic = 140\n", "", "guards[10].systolic"),
        ("retreat-intensive", "valid_days = 3", "valid_hours = 3", "guards[9].valid_hours"),
        (
            "retreat-intensive",
            'guard = "fasting"',
            'guard = "fasting"\nsystolic = 140',
            "guards[11].systolic",
        ),
        ("retreat-intensive", 'guard = "fasting"', 'guard = "ride"', "guards"),
        ("retreat-intensive", 'guard = "fasting"', 'guard = "dosing-clearance"', "guards[11].guard"),
        ("retreat-intensive", 'guard = "fasting"', 'guard = "chaperone"', "guards"),
        ("retreat-intensive", 'guard = "densest-schedule"', 'guard = "integration-held"', "guards"),
        (
            "retreat-intensive",
            'guard = "labs-seen"',
            'guard = "integration-held"',
            "integration.before_next_dose",
        ),
        ("retreat-intensive", "fasting = { food_minutes = 240 }\n", "", "medicines"),
        (
            "retreat-intensive",
            'moment = "before-dose"\ndays = 1',
            'moment = "before-dose"\ndays = 3',
            "scales",
        ),
        ("retreat-intensive", 'guard = "ride"', 'guard = "ride"\nplaces = ["home"]', "guards[12].places"),
        ("retreat-intensive", "title = ", "titel = ", "titel"),
        ("supported-at-home", 'guard = "chaperone"', 'guard = "labs-seen"', "guards"),
        ("esketamine-rems", 'places = ["clinic"]', 'places = ["home"]', "medicines[0].places"),
        ("esketamine-rems", 'routes = ["intranasal"]', 'routes = ["iv"]', "medicines[0].routes"),
        (
            "esketamine-rems",
            "minutes = 120\nresolved",
            "minutes = 119\nresolved",
            "medicines[0].observation.minutes",
        ),
        (
            "esketamine-rems",
            'form = { form = "rems-monitoring-form", within_days = 7 }\n',
            "",
            "medicines[0].form",
        ),
        ("esketamine-rems", 'guard = "rems-setting"', 'guard = "labs-seen"', "guards"),
        ("ketamine-maintenance", 'subject = "bladder"', 'subject = "mood"', "checks[0].subject"),
        ("ketamine-maintenance", 'subject = "memory"', 'subject = "bladder"', "checks"),
    ],
)
def test_a_fault_in_a_file_is_named_by_file_and_field(code, old, new, field):
    text = text_of(code)
    assert old in text
    with pytest.raises(PathwayFault) as refusal:
        read_pathway(f"{code}.toml", text.replace(old, new, 1))
    assert (refusal.value.file, refusal.value.field) == (f"{code}.toml", field)
    assert str(refusal.value).startswith(f"{code}.toml: {field}: ")


def test_a_file_that_is_not_toml_is_named():
    with pytest.raises(PathwayFault, match=r"^mine\.toml: is not TOML"):
        read_pathway("mine.toml", "code = ")


def test_a_file_is_named_after_its_code():
    with pytest.raises(PathwayFault, match="must begin the name"):
        read_pathway("another.toml", text_of("retreat-intensive"))


def test_a_practice_may_bring_a_newer_version_and_plans_keep_to_theirs():
    newer = (
        text_of("therapist-office")
        .replace("version = 1", "version = 2")
        .replace("every_days = 14", "every_days = 7")
    )
    catalogue = with_own([("therapist-office-2.toml", newer)])
    assert catalogue.of("therapist-office").phases[0].every_days == 7
    assert catalogue.of("therapist-office", 1).phases[0].every_days == 14
    assert len(catalogue.current()) == len(PATHWAYS)
    with pytest.raises(Invalid, match="1, 2"):
        catalogue.of("therapist-office", 3)
    with pytest.raises(Invalid, match="retreat-intensive"):
        catalogue.of("spa")


def test_a_change_needs_a_new_version():
    with pytest.raises(PathwayFault, match="new number") as refusal:
        with_own([("therapist-office-mine.toml", text_of("therapist-office"))])
    assert refusal.value.file == "therapist-office-mine.toml"


def test_a_pathway_reads_back_what_it_wrote():
    for pathway in PATHWAYS:
        assert type(pathway).from_fields(pathway.to_fields()) == pathway


def test_the_data_files_are_where_the_package_is():
    names = {each.name for each in resources.files("tandem_care.pathways").iterdir()}
    assert {f"{pathway.code}.toml" for pathway in PATHWAYS} <= names
    assert Catalogue(shipped_files()).current() == PATHWAYS
