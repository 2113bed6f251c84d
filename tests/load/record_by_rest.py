"""The first clinic's EHR, which records entries through REST, as `load.recorder` orders; each entry is a request.

usage: python -m load.record_by_rest ADDRESS TOKEN PATIENT_ID...
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import cycle

from load.record import TEXT, end_if_failed, say
from load.rest import Rest

CONNECTIONS = 8


def main(address: str, token: str, patient_ids: list[str]) -> None:
    clinic, patients = Rest(address, token), cycle(patient_ids)

    def record(due: float, patient_id: str) -> None:
        content = {"practice": TEXT, "given_at": datetime.now(UTC).isoformat()}
        made = clinic.tell(
            f"/patients/{patient_id}/entries", {"kind": "homework-practice", "content": content}
        )
        say(json.dumps([due, time.monotonic(), made["entry_ids"]]))

    say("ready")
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for line in sys.stdin:
            order, began = json.loads(line), time.monotonic()
            for number in range(order["entries"]):
                due = began + number / order["rate"] if order["rate"] else began
                time.sleep(max(0.0, due - time.monotonic()))
                pool.submit(record, due, next(patients)).add_done_callback(end_if_failed)
    clinic.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
