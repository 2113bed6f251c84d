"""What remains when care is done: the discloser's accounting, and the check that nobody changed the account."""

from collections.abc import Callable
from datetime import UTC, datetime

from tandem.exchange.v1.exchange_pb2 import AuditRootPublished
from tandem_ops.account import check_account, kept_by
from tandem_ops.network.members import database_url
from tandem_ops.network.network import Network
from tandem_ops.story.expectations import eventually, expect
from tandem_ops.story.people import SPOKEN, now
from tandem_ops.story.stage import Stage

_NEXT_ROOT = 90.0
"""The hub publishes a root each minute."""


def the_discloser_accounts(stage: Stage) -> None:
    """Juniper prints its accounting of disclosures for Robin"""
    juniper, say = stage.juniper, stage.narrator
    lines = juniper.accounting(stage.ids["episode"])
    for line in lines:
        became = (
            "voided" if line.get("voided_at") else "delivered" if line.get("delivered_at") else "released"
        )
        say.tells(f"{line['released_at'][:16]}  {line['category']:<24} {became}")
    voided = [line for line in lines if line.get("voided_at")]
    delivered = [line for line in lines if line.get("delivered_at")]
    expect("the accounting tells delivered from voided", bool(voided) and bool(delivered), lines)
    say.proves("the discloser can account for every release: delivered, or voided on the way")


def the_account_is_checked(stage: Stage) -> None:
    """Nobody changed the hub's account: it is held against the roots that the clinics kept"""
    say, network = stage.narrator, _on_this_machine(stage)
    layout, plan = network.layout, network.plan
    urls = [database_url(plan, layout, each.name) for each in plan.practices]
    end = now()
    say.tells(
        "the hub signs a root over everybody's records each minute; waiting for the one that covers the end"
    )
    kept = eventually(
        "every clinic has kept a root over the whole course",
        lambda: [kept_by(url) for url in urls],
        lambda seen: all(each.roots and _signed_at(each.roots[-1]) > end for each in seen),
        within=_NEXT_ROOT,
    )
    findings = check_account(database_url(plan, layout, "hub"), layout.hub / "at-rest.key", kept)
    expect("the hub's account is as it was written", not findings, findings)
    roots = sum(len(each.roots) for each in kept)
    say.proves(f"the hub's account agrees with {roots} roots that {len(kept)} clinics kept")


def the_hub_knows_no_words(stage: Stage) -> None:
    """The hub's files, and everybody's logs, are searched for what was said"""
    say, network = stage.narrator, _on_this_machine(stage)
    layout = network.layout
    if network.plan.postgres:
        say.tells("the databases are on a server here; this look at files is left out")
        return
    # Looking into files goes behind the public API on purpose: it is what a thief of the hub's disk would do.
    files = [path for path in [*layout.hub.rglob("*"), *layout.logs.rglob("*")] if path.is_file()]
    telling = [
        f"{path.name} holds {word!r}"
        for path in files
        for word in SPOKEN
        if word.encode() in path.read_bytes()
    ]
    expect("no name and no word about a patient is in the hub's files or in any log", not telling, telling)
    say.proves(f"{len(files)} files of the hub and logs hold no name and no word about a patient")


def _on_this_machine(stage: Stage) -> Network:
    """These endings look into the members' own files."""
    if not isinstance(stage.network, Network):
        raise TypeError("a network elsewhere has endings of its own")
    return stage.network


def _signed_at(root: AuditRootPublished) -> datetime:
    return root.published_at.ToDatetime(tzinfo=UTC)


ENDINGS: tuple[Callable[[Stage], None], ...] = (
    the_discloser_accounts,
    the_account_is_checked,
    the_hub_knows_no_words,
)
