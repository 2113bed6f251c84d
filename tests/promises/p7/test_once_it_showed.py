"""Ways in which what is withheld once showed, each as a pair of runs of its own."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from promises.p7.script import NEVER_PERMITTED
from promises.p7.world import (
    ALDER,
    FIRST,
    JUNIPER,
    RIVERBEND,
    SECOND,
    Copies,
    Prepared,
    World,
    a_permission,
    sealed,
)

from support.observation import first_difference
from tandem.exchange.v1.exchange_pb2 import LateWrap, RowBody, SealedEntry
from tandem_care.categories import Category
from tandem_platform.rpc import words
from tandem_platform.sealing.entries import wrap_for

Act = Callable[[World], None]


@pytest.fixture
def entry(prepared: Prepared) -> Callable[..., SealedEntry]:
    numbers: Iterator[int] = iter(range(1000))

    def make(episode: str, category: Category, **details: Any) -> SealedEntry:
        # Late enough for every permission, whatever the run does to its clock.
        at = prepared.at + timedelta(seconds=1)
        return sealed(
            prepared.keys, JUNIPER, RIVERBEND, episode, category, at, "once", next(numbers), **details
        )

    return make


def writes(*entries: SealedEntry) -> Act:
    def act(world: World) -> None:
        world.advances(2)
        for each in entries:
            world[JUNIPER].writes(RowBody(entry=each))
        world[JUNIPER].sends()

    return act


def commands(name: str, **fields: Any) -> Act:
    def act(world: World) -> None:
        world[JUNIPER].commands(name, "once", **fields)

    return act


def denies(episode: str, category: Category, **times: Any) -> Act:
    permission = a_permission(episode, JUNIPER, RIVERBEND, {category}, "once", deny=True, **times)
    return commands("DenyConsent", permission=permission)


def keeps_back(*entries: SealedEntry, **times: Any) -> Act:
    labels = entries[0].labels
    category = Category(words.category_code(labels.category))
    permission = a_permission(
        labels.episode_id, JUNIPER, RIVERBEND, {category}, "kept back", deny=True, **times
    )
    permission.entry_ids.extend(each.labels.entry_id for each in entries)
    return commands("DenyConsent", permission=permission)


def syncs(*names: str) -> Act:
    def act(world: World) -> None:
        for name in names:
            world[name].syncs()

    return act


def looks(world: World) -> None:
    world.works()
    world.watcher.reads()
    world.watcher.looks_around(50)


def played(copies: Copies, *acts: Act) -> list[tuple[str, Any]]:
    def play(world: World) -> None:
        for act in acts:
            act(world)

    return copies.run(play)


def rows_read(seen: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """The rows that Riverbend's Read gave it, in order."""
    return [row for name, answer in seen if name.endswith(".Read") for row in answer.get("rows", ())]


def bodies(seen: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [row["body"]["body"] for row in rows_read(seen) if "body" in row]


def released(seen: list[tuple[str, Any]]) -> list[str]:
    """Ids of the entries that Riverbend was given, in order."""
    return [
        body["entry_released"]["entry"]["labels"]["entry_id"]
        for body in bodies(seen)
        if "entry_released" in body
    ]


ALL = syncs(JUNIPER, ALDER, RIVERBEND)


@pytest.mark.parametrize("seconds", [0, 5])
def test_a_denial_leaves_what_it_does_not_forbid_on_its_way(
    copies: Copies, prepared: Prepared, entry: Callable[..., SealedEntry], seconds: int
) -> None:
    before = (ALL, writes(entry(FIRST, Category.SCALE_SCORE)))
    denial = denies(FIRST, Category.HOMEWORK_PRACTICE, starts_at=prepared.at + timedelta(seconds=2 + seconds))
    after = (lambda world: world.advances(10), looks)
    assert first_difference(played(copies, *before, denial, *after), played(copies, *before, *after)) is None


@pytest.mark.parametrize("seconds", [0, 5])
def test_a_denial_takes_back_what_it_forbids_and_what_amends_it(
    copies: Copies, prepared: Prepared, entry: Callable[..., SealedEntry], seconds: int
) -> None:
    scores, homework = entry(FIRST, Category.SCALE_SCORE), entry(FIRST, Category.HOMEWORK_PRACTICE)
    derived = entry(FIRST, Category.SCALE_SCORE, derived_from=(Category.HOMEWORK_PRACTICE,))
    amendment = entry(FIRST, Category.SCALE_SCORE, amends=homework.labels.entry_id)
    denial = denies(FIRST, Category.HOMEWORK_PRACTICE, starts_at=prepared.at + timedelta(seconds=2 + seconds))
    seen = played(
        copies,
        ALL,
        writes(homework, scores, derived, amendment),
        denial,
        lambda world: world.advances(10),
        looks,
    )
    assert released(seen) == [scores.labels.entry_id]
    assert [row["void_reason"] for row in rows_read(seen) if "void_reason" in row] == ["withdrawn"] * 3
    (notice,) = [body["permission_revoked"] for body in bodies(seen) if "permission_revoked" in body]
    assert notice["voided_entry_ids"] == [each.labels.entry_id for each in (homework, derived, amendment)]
    assert "permission_id" not in notice


def test_an_entry_that_is_kept_back_by_itself_is_as_if_it_had_never_been(
    copies: Copies, entry: Callable[..., SealedEntry]
) -> None:
    """Its category is permitted, its wrap is there, and so is what amends it."""
    first, kept, last = (entry(FIRST, Category.SCALE_SCORE) for _ in range(3))
    amendment = entry(FIRST, Category.SCALE_SCORE, amends=kept.labels.entry_id)
    without = played(copies, ALL, writes(first), writes(last), looks)
    with_it = played(copies, ALL, keeps_back(kept), writes(first, kept), writes(amendment, last), looks)
    assert released(with_it) == [first.labels.entry_id, last.labels.entry_id]
    assert first_difference(without, with_it) is None


@pytest.mark.parametrize("seconds", [0, 5])
def test_keeping_one_entry_back_takes_back_that_entry_and_what_amends_it(
    copies: Copies, prepared: Prepared, entry: Callable[..., SealedEntry], seconds: int
) -> None:
    kept, other = entry(FIRST, Category.SCALE_SCORE), entry(FIRST, Category.SCALE_SCORE)
    amendment = entry(FIRST, Category.SCALE_SCORE, amends=kept.labels.entry_id)
    denial = keeps_back(kept, starts_at=prepared.at + timedelta(seconds=2 + seconds))
    seen = played(
        copies, ALL, writes(kept, other, amendment), denial, lambda world: world.advances(10), looks
    )
    assert released(seen) == [other.labels.entry_id]
    (notice,) = [body["permission_revoked"] for body in bodies(seen) if "permission_revoked" in body]
    assert notice["voided_entry_ids"] == [kept.labels.entry_id, amendment.labels.entry_id]
    assert "permission_id" not in notice


def test_how_much_a_sweep_looks_through_does_not_show_in_the_order_of_release(
    copies: Copies, entry: Callable[..., SealedEntry]
) -> None:
    """Of two scopes to be swept at once the first has a backlog that takes several chunks."""
    first, second = sorted([FIRST, SECOND])
    backlog = [entry(first, NEVER_PERMITTED[0], wrapped=False) for _ in range(120)]
    given = [entry(each, Category.SCALE_SCORE) for each in (first, second)]
    wait = syncs(JUNIPER, ALDER)
    with_backlog = played(copies, wait, writes(*backlog, *given), syncs(RIVERBEND), looks)
    without = played(copies, wait, writes(*given), syncs(RIVERBEND), looks)
    assert released(without) == [each.labels.entry_id for each in given]
    assert first_difference(with_backlog, without) is None


def test_what_stays_withheld_does_not_hurry_the_sweep_of_its_scope(
    copies: Copies, entry: Callable[..., SealedEntry]
) -> None:
    """The hub has started and Riverbend has not synced: what may be released is swept in the order of asking."""
    withheld = writes(entry(FIRST, NEVER_PERMITTED[0]))
    one, other = entry(SECOND, Category.SCALE_SCORE), entry(FIRST, Category.SCALE_SCORE)
    wait = syncs(JUNIPER, ALDER)
    later: tuple[Act, ...] = (writes(one), writes(other), syncs(RIVERBEND), looks)
    clock: Act = lambda world: world.advances(2)  # noqa: E731 - as long as writing takes
    without = played(copies, wait, clock, *later)
    assert released(without) == [one.labels.entry_id, other.labels.entry_id]
    assert first_difference(played(copies, wait, withheld, *later), without) is None


def test_asking_again_does_not_cost_a_scope_its_place(
    copies: Copies, entry: Callable[..., SealedEntry]
) -> None:
    one, other = entry(FIRST, Category.SCALE_SCORE), entry(SECOND, Category.SCALE_SCORE)
    again = entry(FIRST, Category.SCALE_SCORE)
    acts = (writes(one), writes(other), writes(again), syncs(RIVERBEND), looks)
    seen = played(copies, syncs(JUNIPER, ALDER), *acts)
    assert released(seen) == [each.labels.entry_id for each in (one, again, other)]


def late_wrap(prepared: Prepared, of: SealedEntry) -> RowBody:
    wrap = wrap_for(of, prepared.keys[JUNIPER], prepared.keys[RIVERBEND].bundle)
    return RowBody(late_wrap=LateWrap(entry_id=of.labels.entry_id, wrap=wrap))


def test_a_late_wrap_in_the_batch_of_its_entry_releases_it(
    copies: Copies, prepared: Prepared, entry: Callable[..., SealedEntry]
) -> None:
    """As after a restore of the hub, when a clinic brings all that was lost at once."""
    unwrapped = entry(FIRST, Category.SCALE_SCORE, wrapped=False)

    def writes_both(world: World) -> None:
        world.advances(2)
        world[JUNIPER].writes(RowBody(entry=unwrapped))
        world[JUNIPER].writes(late_wrap(prepared, unwrapped))
        world[JUNIPER].sends()

    assert released(played(copies, ALL, writes_both, looks)) == [unwrapped.labels.entry_id]


def test_what_amends_an_entry_is_released_when_its_wrap_comes_late(
    copies: Copies, prepared: Prepared, entry: Callable[..., SealedEntry]
) -> None:
    unwrapped = entry(FIRST, Category.SCALE_SCORE, wrapped=False)
    amendment = entry(FIRST, Category.SCALE_SCORE, amends=unwrapped.labels.entry_id)
    second = entry(FIRST, Category.SCALE_SCORE, amends=amendment.labels.entry_id)

    def gives_the_wrap(world: World) -> None:
        world[JUNIPER].writes(late_wrap(prepared, unwrapped))
        world[JUNIPER].sends()

    seen = played(copies, ALL, writes(unwrapped, amendment, second), gives_the_wrap, looks)
    assert released(seen) == [each.labels.entry_id for each in (unwrapped, amendment, second)]
