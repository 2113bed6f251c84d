"""Schedules that found something once, kept for good: each seed with what it was.

What was found in the product has a short test of its own, too, in test_incidents.py: a seed says something else when the generator changes.
"""

FOUND: dict[int, str] = {
    3: "the checker did not know a full disk by the savepoint that it took",
    13: "the checker forbade what a restored hub cannot prevent: Kafka still held what had been given before",
    17: "the checker took rows that were appended anew, for a clinic that a hostile hub had misled, for rows given twice",
    1011: "the checker took for lost what was meant for a referral that a restored hub had refused",
}
