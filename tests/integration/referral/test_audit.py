"""The hub's account of itself: what each practice can check, and what nobody can rewrite unnoticed."""

from collections.abc import Callable
from datetime import UTC, timedelta

import pytest
from sqlalchemy import delete, insert, select, update

from support.hub import HubAlone, Member, refused, status_bytes
from tandem.audit.v1 import audit_pb2 as pb
from tandem.exchange.v1.exchange_pb2 import AuditRootPublished
from tandem_platform.audit.chain import NO_LINKS, Fact, Finding, Link, extend, link_in
from tandem_platform.audit.roots import verify_kept_chain
from tandem_platform.errors import Code
from tandem_platform.storage.database import Transaction
from tandem_referral.store import audit as store
from tandem_referral.store.tables import audit_head, audit_leaf, audit_record, audit_root, release
from tandem_referral.usecases.audit import announce_root, publish_root, verify


def writes(hub: HubAlone, chain: str, *actions: str, **fields) -> None:
    def write(tx: Transaction) -> None:
        for action in actions:
            store.append(tx, chain, at=hub.now(), action=action, **fields)

    hub.database.run(write)


def publishes(hub: HubAlone) -> int:
    """A minute later there is another root, on every downlink."""
    hub.clock.advance(timedelta(minutes=1))
    while hub.publisher.step():
        pass
    with hub.database.reading() as tx:
        return max(int(row.tree_number) for row in tx.all(select(audit_root)))


def roots_of(hub: HubAlone, member: Member) -> list[AuditRootPublished]:
    return [
        row.audit_root_published for row in hub.downlink_of(member) if row.HasField("audit_root_published")
    ]


def proof_for(member: Member, tree_number: int) -> pb.GetAuditProofResponse:
    return member.audit.GetAuditProof(pb.GetAuditProofRequest(tree_number=tree_number))


def findings(hub: HubAlone, kept: list[AuditRootPublished] | None = None) -> list[Finding]:
    with hub.database.reading() as tx:
        return verify(tx, hub.keys.bundle, kept or [])


def faults(hub: HubAlone, kept: list[AuditRootPublished] | None = None) -> set[tuple[str, str]]:
    return {(each.chain, each.fault) for each in findings(hub, kept)}


class TestChains:
    def test_a_practice_reads_its_own_records_in_order_and_in_pages(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        referral = juniper.refers_to(riverbend)
        records = juniper.audit_records()
        assert [record.number for record in records] == list(range(1, len(records) + 1))
        moved = [record for record in records if record.action == "referral-moved"]
        assert [(each.rule, each.referral_id) for each in moved] == [("request", referral.referral_id)]
        first = juniper.audit.ListAuditRecords(pb.ListAuditRecordsRequest(page_size=2)).records
        assert list(first) == records[:2]

    def test_a_transaction_that_fails_records_nothing(self, hub: HubAlone):
        juniper = hub.joined()

        def fails(tx: Transaction) -> None:
            store.append(tx, juniper.id, at=hub.now(), action="released")
            raise RuntimeError

        with pytest.raises(RuntimeError):
            hub.database.run(fails)
        assert juniper.audit_records() == []

    def test_an_undone_savepoint_takes_its_records_with_it(self, hub: HubAlone):
        juniper = hub.joined()

        def undone(tx: Transaction) -> None:
            with tx.savepoint():
                store.append(tx, juniper.id, at=hub.now(), action="voided")
                raise RuntimeError

        def half(tx: Transaction) -> None:
            store.append(tx, juniper.id, at=hub.now(), action="released")
            with pytest.raises(RuntimeError):
                undone(tx)

        hub.database.run(half)
        assert [record.action for record in juniper.audit_records()] == ["released"]

    def test_records_of_one_chain_change_nothing_that_another_practice_sees(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        publishes(hub)
        before = (riverbend.audit_records(), len(hub.downlink_of(riverbend)))
        writes(hub, juniper.id, *["withheld"] * 30, category=9)
        assert (riverbend.audit_records(), len(hub.downlink_of(riverbend))) == before
        quiet, busy = proof_for(riverbend, 1), proof_for(riverbend, publishes(hub))
        assert quiet.head_number == busy.head_number
        assert (len(quiet.path), quiet.leaf_count) == (len(busy.path), busy.leaf_count)
        assert len(quiet.SerializeToString()) == pytest.approx(len(busy.SerializeToString()), abs=8)


class TestRoots:
    def test_every_practice_is_told_each_minute_though_nothing_happened(self, hub: HubAlone):
        members = [hub.joined() for _ in range(3)]
        assert [publishes(hub) for _ in range(3)] == [1, 2, 3]
        for member in members:
            assert [root.tree_number for root in roots_of(hub, member)] == [1, 2, 3]
        assert not hub.publisher.step()

    def test_many_downlinks_are_told_in_several_transactions(self, hub: HubAlone):
        members = [hub.joined() for _ in range(5)]
        hub.database.run(lambda tx: publish_root(tx, hub.now(), hub.keys))
        steps = 0
        while hub.database.run(lambda tx: announce_root(tx, at_once=2)):
            steps += 1
        assert steps == 3
        assert [len(roots_of(hub, member)) for member in members] == [1] * 5

    def test_a_practice_proves_its_chain_with_the_root_that_it_kept(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        juniper.refers_to(riverbend)
        number = publishes(hub)
        juniper.refers_to(riverbend)
        publishes(hub)
        for member in (juniper, riverbend):
            kept = roots_of(hub, member)[number - 1]
            checked = verify_kept_chain(
                member.id, member.audit_records(), proof_for(member, number), kept, hub.keys.bundle
            )
            assert list(checked) == []

    def test_a_practice_notices_that_its_own_chain_was_changed(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        juniper.refers_to(riverbend)
        records, proof = juniper.audit_records(), proof_for(juniper, publishes(hub))
        (published,) = roots_of(hub, juniper)

        def told(records, proof=proof, kept=published) -> set[str]:
            return {f.fault for f in verify_kept_chain(juniper.id, records, proof, kept, hub.keys.bundle)}

        assert told(records) == set()
        assert "truncated" in told(records[:-1])
        assert "out-of-sequence" in told(records[1:])
        edited = [pb.AuditRecord.FromString(each.SerializeToString()) for each in records]
        edited[0].action = "something-else"
        assert "not-what-was-hashed" in told(edited)
        forged = AuditRootPublished(tree_number=1, root=bytes(32))
        assert "not-the-root-that-was-kept" in told(records, kept=forged)
        broken = pb.GetAuditProofResponse.FromString(proof.SerializeToString())
        broken.head_number += 1
        assert "not-under-the-root" in told(records, proof=broken)

    def test_there_is_no_proof_under_an_unknown_tree_or_one_from_before(self, hub: HubAlone):
        juniper = hub.joined()
        publishes(hub)
        newcomer = hub.joined()
        unknown = status_bytes(lambda: newcomer.audit.GetAuditProof(pb.GetAuditProofRequest(tree_number=7)))
        assert status_bytes(lambda: proof_for(newcomer, 1)) == unknown
        assert refused(lambda: proof_for(juniper, 2**64 - 1)).code is Code.INVALID_ARGUMENT
        assert proof_for(juniper, 1).head_number == 0


def rehash(tx: Transaction, chain: str, change: Callable[[list[Fact]], object]) -> None:
    """Write a chain anew from end to end, with hashes, head and leaves that fit: all that its owner can do."""
    facts = [link.fact for link in store.links(tx, chain)]
    change(facts)
    links = extend(chain, NO_LINKS, facts)
    tx.execute(delete(audit_record).where(audit_record.c.chain == chain))
    tx.execute(insert(audit_record), [store._row_of(chain, link) for link in links])
    last = links[-1]
    tx.execute(
        update(audit_head).where(audit_head.c.chain == chain).values(number=last.number, hash=last.hash)
    )
    by_number = {link.number: link for link in links}
    for leaf in tx.all(select(audit_leaf).where(audit_leaf.c.chain == chain)):
        fitting = by_number.get(leaf.head_number, last)
        tx.execute(
            update(audit_leaf)
            .where(audit_leaf.c.chain == chain, audit_leaf.c.tree_number == leaf.tree_number)
            .values(head_number=fitting.number, head_hash=fitting.hash)
        )


class TestVerification:
    """Each kind of tampering with the hub's database, done by somebody who knows it well."""

    @pytest.fixture
    def chain(self, hub: HubAlone) -> str:
        member = hub.joined()
        writes(hub, member.id, "granted", "released", "delivered")
        publishes(hub)
        writes(hub, member.id, "revoked", "voided")
        publishes(hub)
        self.kept = roots_of(hub, member)
        return member.id

    def tampers(self, hub: HubAlone, *statements) -> None:
        with hub.database.transaction() as tx:
            for statement in statements:
                tx.execute(statement)

    def test_what_nobody_touched_has_no_findings(self, hub: HubAlone, chain: str):
        assert findings(hub, self.kept) == []

    def test_an_edit(self, hub: HubAlone, chain: str):
        other = pb.AuditRecord(action="withheld").SerializeToString()
        at = (audit_record.c.chain == chain) & (audit_record.c.number == 2)
        self.tampers(hub, update(audit_record).where(at).values(record=other))
        assert faults(hub) == {(chain, "not-what-was-hashed")}

    def test_a_moved_time(self, hub: HubAlone, chain: str):
        at = (audit_record.c.chain == chain) & (audit_record.c.number == 2)
        self.tampers(hub, update(audit_record).where(at).values(at=hub.now()))
        assert faults(hub) == {(chain, "not-what-was-hashed")}

    def test_a_deletion(self, hub: HubAlone, chain: str):
        at = (audit_record.c.chain == chain) & (audit_record.c.number == 2)
        self.tampers(hub, delete(audit_record).where(at))
        assert (chain, "out-of-sequence") in faults(hub)

    def test_an_insertion(self, hub: HubAlone, chain: str):
        with hub.database.transaction() as tx:
            last = list(store.links(tx, chain))[-1]
            (more,) = extend(chain, NO_LINKS, [Fact(at=hub.now(), action="granted")])
            inserted = Link(last.number + 1, more.fact, last.hash, more.hash)
            tx.execute(insert(audit_record).values(store._row_of(chain, inserted)))
        assert faults(hub) == {(chain, "not-what-was-hashed"), (chain, "head-replaced")}

    def test_a_reordering(self, hub: HubAlone, chain: str):
        with hub.database.transaction() as tx:
            links = list(store.links(tx, chain))
            swapped = [links[1], links[0], *links[2:]]
            tx.execute(delete(audit_record).where(audit_record.c.chain == chain))
            rows = [{**store._row_of(chain, link), "number": n} for n, link in enumerate(swapped, 1)]
            tx.execute(insert(audit_record), rows)
        assert (chain, "not-linked-to-the-one-before") in faults(hub)

    def test_a_truncation_with_a_fitting_head(self, hub: HubAlone, chain: str):
        with hub.database.reading() as tx:
            kept_link = list(store.links(tx, chain))[3]
        self.tampers(
            hub,
            delete(audit_record).where(audit_record.c.chain == chain, audit_record.c.number > 4),
            update(audit_head).where(audit_head.c.chain == chain).values(number=4, hash=kept_link.hash),
        )
        assert faults(hub) == {(chain, "truncated")}

    def test_a_replaced_head(self, hub: HubAlone, chain: str):
        self.tampers(hub, update(audit_head).where(audit_head.c.chain == chain).values(hash=bytes(32)))
        assert faults(hub) == {(chain, "head-replaced")}

    def test_a_chain_that_is_gone_with_its_head(self, hub: HubAlone, chain: str):
        self.tampers(
            hub,
            delete(audit_record).where(audit_record.c.chain == chain),
            delete(audit_head).where(audit_head.c.chain == chain),
        )
        assert ("tree 2", "root-not-of-its-leaves") in faults(hub)

    def test_a_chain_made_anew_below_its_leaves(self, hub: HubAlone, chain: str):
        leaves_of = select(audit_leaf).where(audit_leaf.c.chain == chain)
        with hub.database.transaction() as tx:
            leaves = tx.all(leaves_of)
            rehash(tx, chain, lambda facts: facts.pop(1))
            for leaf in leaves:
                at = (audit_leaf.c.chain == chain) & (audit_leaf.c.tree_number == leaf.tree_number)
                values = {"head_number": leaf.head_number, "head_hash": leaf.head_hash}
                tx.execute(update(audit_leaf).where(at).values(values))
        assert (chain, "chained-anew") in faults(hub)

    def test_a_chain_made_anew_with_fitting_leaves_does_not_fit_its_roots(self, hub: HubAlone, chain: str):
        with hub.database.transaction() as tx:
            rehash(tx, chain, lambda facts: facts.pop(1))
        assert faults(hub) == {("tree 2", "root-not-of-its-leaves")}

    def test_an_account_rewritten_from_end_to_end_is_caught_by_the_roots_that_clinics_kept(
        self, hub: HubAlone, chain: str
    ):
        with hub.database.transaction() as tx:
            rehash(tx, chain, lambda facts: facts.pop(1))
            tx.execute(delete(audit_root))
            tx.execute(delete(audit_leaf))
            for kept in self.kept:
                publish_root(tx, kept.published_at.ToDatetime(tzinfo=UTC), hub.keys)
        assert findings(hub) == []
        assert faults(hub, self.kept) == {("tree 1", "forked"), ("tree 2", "forked")}

    def test_a_hub_set_back_to_an_earlier_day_is_caught_by_the_roots_that_clinics_kept(
        self, hub: HubAlone, chain: str
    ):
        with hub.database.transaction() as tx:
            early = list(store.links(tx, chain))[2]
            for statement in (
                delete(audit_root).where(audit_root.c.tree_number == 2),
                delete(audit_leaf).where(audit_leaf.c.tree_number == 2),
                delete(audit_record).where(audit_record.c.chain == chain, audit_record.c.number > 3),
                update(audit_head).where(audit_head.c.chain == chain).values(number=3, hash=early.hash),
            ):
                tx.execute(statement)
        assert findings(hub) == []
        assert faults(hub, self.kept) == {("tree 2", "tree-missing")}

    def test_a_root_that_the_hub_never_signed_accuses_its_keeper(self, hub: HubAlone, chain: str):
        forged = AuditRootPublished.FromString(self.kept[0].SerializeToString())
        forged.root = bytes(32)
        assert faults(hub, [forged]) == {("tree 1", "kept-root-not-signed-by-the-hub")}

    def test_a_changed_signature_or_secret_of_a_tree(self, hub: HubAlone, chain: str):
        self.tampers(hub, update(audit_root).values(signature=bytes(64)))
        assert faults(hub) == {("tree 2", "root-not-signed")}
        self.tampers(hub, update(audit_root).values(secret=bytes(32)))
        assert ("tree 2", "root-not-of-its-leaves") in faults(hub)


class TestDisclosures:
    def released(self, hub: HubAlone, discloser: Member, recipient: Member, entry_id: str, **fields) -> None:
        values = {
            "entry_id": entry_id,
            "recipient_practice_id": recipient.id,
            "episode_id": "epi_1",
            "discloser_practice_id": discloser.id,
            "result": "released",
            "rule": "permitted",
            "permission_id": "perm_1",
            "permission_version": 1,
            "category": b"9",
            "decided_at": hub.now(),
            "released_at": hub.now(),
            **fields,
        }
        hub.database.run(lambda tx: tx.execute(insert(release).values(values)))

    def listed(self, member: Member, **query) -> list[pb.Disclosure]:
        found: list[pb.Disclosure] = []
        request = pb.ListDisclosuresRequest(page_size=2, **query)
        while True:
            page = member.audit.ListDisclosures(request)
            found += page.disclosures
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def test_the_discloser_lists_what_it_released_oldest_first(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        for number in range(5):
            self.released(hub, juniper, riverbend, f"ent_{number}")
            hub.clock.advance(timedelta(hours=1))
        assert [each.entry_id for each in self.listed(juniper)] == [f"ent_{n}" for n in range(5)]
        first = self.listed(juniper)[0]
        assert (first.category, first.permission_id, first.recipient_practice_id) == (
            9,
            "perm_1",
            riverbend.id,
        )
        assert self.listed(riverbend) == []

    def test_what_was_withheld_is_no_disclosure_and_what_was_voided_is_marked(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        self.released(hub, juniper, riverbend, "ent_1", result="withheld", released_at=None)
        self.released(hub, juniper, riverbend, "ent_2", result="voided", voided_at=hub.now())
        self.released(hub, juniper, riverbend, "ent_3", delivered_at=hub.now(), voided_at=hub.now())
        listed = {each.entry_id: each for each in self.listed(juniper)}
        assert set(listed) == {"ent_2", "ent_3"}
        assert [listed[e].HasField("voided_at") for e in ("ent_2", "ent_3")] == [True, False]
        assert listed["ent_3"].HasField("delivered_at")

    def test_it_is_narrowed_by_episode_and_time(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        self.released(hub, juniper, riverbend, "ent_1")
        hub.clock.advance(timedelta(days=1))
        self.released(hub, juniper, riverbend, "ent_2", episode_id="epi_2")
        assert [each.entry_id for each in self.listed(juniper, episode_id="epi_1")] == ["ent_1"]
        request = pb.ListDisclosuresRequest()
        request.since.FromDatetime(hub.now())
        (only,) = juniper.audit.ListDisclosures(request).disclosures
        assert only.entry_id == "ent_2"


def test_a_record_that_was_listed_is_the_link_that_was_hashed(hub: HubAlone):
    juniper = hub.joined()
    writes(hub, juniper.id, "released", entry_id="ent_1", category=9, permission_version=3)
    with hub.database.reading() as tx:
        (kept,) = store.links(tx, juniper.id)
    (listed,) = juniper.audit_records()
    assert link_in(listed) == kept
