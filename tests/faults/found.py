"""Schedules that found something once, kept for good: each seed with what it was.

What was found in the product has a short test of its own, too, in test_incidents.py: a seed says something else when the generator changes.
"""

FOUND: dict[int, str] = {
    3: "the checker did not know a full disk by the savepoint that it took",
    13: "the checker forbade what a restored hub cannot prevent: Kafka still held what had been given before",
    17: "the checker took rows that were appended anew, for a clinic that a hostile hub had misled, for rows given twice",
    1011: "the checker took for lost what was meant for a referral that a restored hub had refused",
    1261: "the checker wanted an account of what a practice that does not sync withholds",
    1454: "what a restored clinic had lost did not come again, because to the hub it had arrived",
    1570: "an entry was given before what a permission had opened that had begun by the clock",
    1605: "the checker took for given twice what a notice appended anew had taken back in between",
    1658: "what was wrapped late, because the clock had been ahead, was not missed",
    1693: "what a restored clinic dropped by the list of revocations did not come when it was permitted again",
}

FIFTY = (*sorted(FOUND), *range(1, 51 - len(FOUND)))
"""Which between them notice every mutant that a schedule can notice."""
