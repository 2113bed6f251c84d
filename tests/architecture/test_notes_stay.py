"""No path of imports leads from psychotherapy notes to sealing or sending, nor from those to the notes."""

import copy

import grimp
import pytest

SERVICE = "tandem_therapy_provider"
NOTES = frozenset(
    f"{SERVICE}.{module}"
    for module in ("domain.notes", "store.note_table", "store.notes", "usecases.notes", "http.notes")
)
TABLES = f"{SERVICE}.store.tables"
SENDING = frozenset(
    {
        "tandem_platform.sealing.entries",
        "tandem_platform.exchange.log",
        "tandem_clinic.usecases.entries",
        "tandem_clinic.usecases.sharing",
    }
)
# Put the application together, and hold no rule of their own.
ASSEMBLY = frozenset({f"{SERVICE}.bootstrap", f"{SERVICE}.__main__"})


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(SERVICE, "tandem_clinic", "tandem_platform", "tandem_care", cache_dir=None)


def ways_out(imports: grimp.ImportGraph) -> list[tuple[str, ...]]:
    """Chains from the notes to what seals or sends."""
    found = (
        imports.find_shortest_chain(importer=notes, imported=sending)
        for notes in NOTES
        for sending in SENDING
    )
    return [chain for chain in found if chain]


def reaches_in(imports: grimp.ImportGraph) -> list[tuple[str, ...]]:
    """Chains to the notes, or to their table, from modules that can seal or send."""
    senders = {
        module
        for module in imports.modules - ASSEMBLY - NOTES - SENDING
        if any(imports.find_shortest_chain(importer=module, imported=sending) for sending in SENDING)
    }
    found = (
        imports.find_shortest_chain(importer=sender, imported=target)
        for sender in senders | SENDING
        for target in NOTES | {TABLES}
    )
    return [chain for chain in found if chain]


def test_every_module_in_question_is_there(imports: grimp.ImportGraph) -> None:
    assert NOTES | SENDING | ASSEMBLY | {TABLES} <= imports.modules


def test_no_path_leads_from_the_notes_to_sealing(imports: grimp.ImportGraph) -> None:
    assert ways_out(imports) == []


def test_nothing_that_seals_reaches_the_notes_or_their_table(imports: grimp.ImportGraph) -> None:
    assert reaches_in(imports) == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        (f"{SERVICE}.usecases.notes", "tandem_clinic.usecases.entries"),
        (f"{SERVICE}.store.notes", "tandem_platform.sealing.entries"),
        (f"{SERVICE}.http.notes", "tandem_clinic.usecases.sharing"),
    ],
)
def test_a_planted_way_out_is_caught(imports: grimp.ImportGraph, importer: str, imported: str) -> None:
    planted = copy.deepcopy(imports)
    planted.add_import(importer=importer, imported=imported)
    assert ways_out(planted)


@pytest.mark.parametrize("imported", [f"{SERVICE}.usecases.notes", TABLES])
def test_a_planted_reach_into_the_notes_is_caught(imports: grimp.ImportGraph, imported: str) -> None:
    planted = copy.deepcopy(imports)
    planted.add_import(importer=f"{SERVICE}.usecases.sessions", imported=imported)
    assert reaches_in(planted)
