"""Terms under which two practices work together: a text, known to both sides by its digest."""

import hashlib
from typing import Final

LONGEST: Final = 50_000
"""Characters."""

STANDARD: Final = """\
Terms of partnership between two practices, first edition

1. Each practice keeps its own records. A practice gives the other only what the patient has agreed
   to share, and what the law asks for.
2. Each practice answers for the care that it gives. The prescriber decides on the medicine, the
   therapist on the psychotherapy; each says so when it has a doubt.
3. The practice to which a patient is referred says within two working days whether it takes the
   patient on, and why if it does not.
4. Each practice names a telephone number at which the other reaches a clinician when a question
   cannot wait, and keeps it answered while a patient whom they share is in the medicine phase.
5. A practice that learns of a danger to a patient whom they share tells the other at once, as far
   as it may.
6. When a patient takes an agreement to share back, both practices act on it at once. What was
   received before stays in the record, marked, and is not given on.
7. Records that carry the notice of 42 CFR part 2 are not given on without the patient's agreement.
8. Neither practice pays or receives anything for a referral.
9. Each practice trains its people in these terms, and tells the other without delay when records of
   a patient whom they share may have come into wrong hands.
10. Either practice may suspend or end the partnership at any time. Patients under way are handed
   over with care.

This text is a beginning, and no legal advice.
"""
"""What is proposed where a practice has no terms of its own."""


def text_hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


STANDARD_HASH: Final = text_hash(STANDARD)
