"""A second process of the first clinic, which records entries through the use case, as `load.recorder` orders.

Its settings are the clinic's own, from the environment.

usage: python -m load.record PATIENT_ID...
"""

import json
import os
import sys
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle, islice

from tandem_care.entry_kinds import HomeworkPractice
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import Role, Staff
from tandem_clinic.process import assemble
from tandem_clinic.settings import ClinicSettings
from tandem_clinic.usecases.entries import Draft, record_entries
from tandem_platform.settings import load
from tandem_platform.storage.together import Together
from tandem_prescriber.bootstrap import SERVICE

TEXT = "x" * 80
"""With its other fields, a content of the floor's size."""

PACED_AT_ONCE = 8


def say(line: str) -> None:
    # In one piece, because several threads speak.
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def end_if_failed(done: "Future[None]") -> None:
    """An entry that was not recorded would be waited for in vain."""
    fault = done.exception()
    if fault is not None:
        traceback.print_exception(fault)
        os._exit(1)


class Work:
    """Orders with a rate come at once, as a clinic's requests do, and are committed as those are; others one after another."""

    def __init__(self, clinic: Clinic, patient_ids: list[str]) -> None:
        self._clinic = clinic
        self._together = Together(clinic.db)
        self._patients = cycle(patient_ids)
        self._by = Staff("staff_load", "Load", frozenset({Role.CLINICIAN}))

    def run(self) -> None:
        with ThreadPoolExecutor(PACED_AT_ONCE) as pool:
            for line in sys.stdin:
                order, began = json.loads(line), time.monotonic()
                for first in range(0, order["entries"], order["together"]):
                    drafts = self._drafts(min(order["together"], order["entries"] - first))
                    if not order["rate"]:
                        self._record(began, drafts)
                        continue
                    due = began + first / order["rate"]
                    time.sleep(max(0.0, due - time.monotonic()))
                    pool.submit(self._record, due, drafts).add_done_callback(end_if_failed)

    def _drafts(self, count: int) -> list[Draft]:
        content = HomeworkPractice(practice=TEXT, given_at=self._clinic.now())
        return [Draft(patient_id, content) for patient_id in islice(self._patients, count)]

    def _record(self, due: float, drafts: list[Draft]) -> None:
        made = self._together.run(lambda tx: record_entries(tx, self._clinic, self._by, drafts))
        say(json.dumps([due, time.monotonic(), [each.entry_ids[0] for each in made]]))


def main(patient_ids: list[str]) -> None:
    # The clinic's other process has the broker; this one writes to the database alone.
    node, channel = assemble(SERVICE, replace(load(ClinicSettings), kafka_bootstrap=()))
    # As a clinic's processes do that share a database: each tells the others of its commits.
    node.clinic.db.watch()
    say("ready")
    Work(node.clinic, patient_ids).run()
    channel.close()
    node.close()


if __name__ == "__main__":
    main(sys.argv[1:])
