"""What injected faults did: one count for each kind, raised where the effect shows and never where the fault is set."""

from collections import Counter

KINDS: dict[str, str] = {
    "hub-crash-between-steps": "hub started again with work under way",
    "clinic-crash-between-steps": "clinic started again with work under way",
    "hub-crash-before-commit": "hub died in a transaction, which was undone",
    "clinic-crash-before-commit": "clinic died in a transaction, which was undone",
    "hub-crash-after-commit": "hub died with a commit behind it that nobody had heard of",
    "clinic-crash-after-commit": "clinic died with a commit behind it that nobody had heard of",
    "crash-before-answer": "clinic died when the hub had answered, before it could note the answer",
    "crash-in-publishing": "a relay died with its batch half way",
    "hub-transaction-aborted": "the database refused the hub's commit",
    "clinic-transaction-aborted": "the database refused a clinic's commit",
    "hub-database-away": "the hub asked its database in vain",
    "clinic-database-away": "a clinic asked its database in vain",
    "database-restarted": "connections were gone, and made anew",
    "hub-disk-full": "SQLite refused the hub's write for want of space",
    "clinic-disk-full": "SQLite refused a clinic's write for want of space",
    "broker-down": "a batch was refused by the broker",
    "broker-emptied": "records were gone with the broker's memory",
    "broker-refuses-size": "a row was refused for its size",
    "record-lost": "a record was acknowledged and lost",
    "record-delayed": "a record came after later ones or later steps",
    "record-reordered": "a record was read after its successor",
    "record-duplicated": "a copy was read a second time",
    "record-stale": "an old copy was read again",
    "record-of-older-epoch": "a copy from an epoch that has ended was read",
    "record-corrupted": "a record with a flipped bit was read",
    "record-truncated": "a record cut short was read",
    "record-oversized": "a record of two megabytes was read",
    "record-unknown-version": "a record with fields of a later version was read",
    "request-lost": "a call did not arrive",
    "answer-lost": "a call took effect, and its answer was lost",
    "cut-both-ways": "a call failed while the hub was away",
    "call-delayed": "others went on while a call was under way",
    "call-timed-out": "a call took effect, and its answer came too late",
    "request-corrupted": "the hub refused a body that it could not read",
    "request-oversized": "the hub refused a body for its size",
    "request-unknown-version": "the hub answered a request with fields of a later version",
    "answer-corrupted": "a clinic could not read an answer",
    "answer-truncated": "a clinic could not read an answer that was cut short",
    "clinic-clock-forward": "a clinic wrote with its clock ahead",
    "clinic-clock-back": "a clinic wrote with its clock behind",
    "hub-clock-forward": "the hub decided with its clock ahead",
    "hub-clock-back": "the hub decided with its clock behind",
    "hub-clock-jumped": "the hub refused to decide after a jump of its clock",
    "keys-rotated": "a clinic went on with new keys",
    "clinic-restored": "a clinic was set back, and had lost rows",
    "hub-restored": "the hub was set back, and had lost rows",
    "hub-zombie": "a hub that should have ended did work after its successor had begun",
    "second-hub": "a second process of the hub did work beside the first",
    "clinic-zombie": "a clinic's process that should have ended did work after its successor had begun",
}
"""Every kind of fault, and what counts as its effect."""

HOSTILE: dict[str, str] = {
    "hostile-hub-swaps-keys": "a clinic refused a bundle of keys that is not its partner's",
    "hostile-hub-moves-content": "a clinic refused content under the labels of another entry",
    "hostile-hub-flips-labels": "a clinic refused labels that its partner had not signed",
    "hostile-hub-replays": "a clinic was given an entry again, and kept it once",
    "hostile-hub-drops": "an entry was kept from a clinic, and its origin missed the receipt",
    "hostile-hub-reorders": "a clinic was given entries in another order",
    "hostile-hub-breaks-chain": "a clinic stopped at rows out of their chain",
    "hostile-clinic-floods": "the hub took a flood, and the others' rows beside it",
    "hostile-clinic-forges-origin": "the hub parked an entry in another's name",
    "hostile-clinic-forges-signature": "the hub refused rows that their writer had not signed",
    "hostile-clinic-seals-badly": "the hub parked an entry whose seal does not hold",
    "hostile-clinic-lies-about-numbers": "the hub did not step over a gap or back",
    "hostile-clinic-equivocates": "the hub took one of two rows with one number",
    "hostile-clinic-writes-for-another": "a copy forged onto another's topic was read and dropped",
}


class Effects(Counter[str]):
    """How often each kind of fault had an effect."""

    def note(self, kind: str, times: int = 1) -> None:
        if kind not in KINDS and kind not in HOSTILE:
            raise KeyError(kind)
        self[kind] += times

    def table(self) -> str:
        said = {**KINDS, **HOSTILE}
        return "\n".join(f"{self[kind]:8}  {kind:34} {what}" for kind, what in said.items())
