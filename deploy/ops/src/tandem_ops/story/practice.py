"""A practice as its people use it: its REST API, a verb per thing that they do."""

from collections.abc import Iterable, Mapping
from typing import Any

from tandem_ops.reach import Answer, ClinicApi
from tandem_ops.story.expectations import ExpectationFailed, eventually
from tandem_ops.story.people import JsonObject, a_form
from tandem_platform.ids import new_id

_ROOT = "/api/v1"

Item = Mapping[str, Any]
"""An entry of a care plan, as the API gives it."""


class Practice:
    """One practice of the story. Whatever it is refused fails the story, unless a verb says otherwise."""

    def __init__(self, name: str, practice_id: str, on_call_phone: str, api: ClinicApi) -> None:
        self.name = name
        self.practice_id = practice_id
        self.on_call_phone = on_call_phone
        self._api = api

    def ask(self, path: str, **query: Any) -> Any:
        answer = self._api.call("GET", f"{_ROOT}{path}", query=query)
        if answer.is_refusal:
            raise ExpectationFailed(f"{self.name} answers GET {path}", str(answer))
        return answer.body

    def try_to_ask(self, path: str, **query: Any) -> Answer:
        return self._api.call("GET", f"{_ROOT}{path}", query=query)

    def tell(self, path: str, body: JsonObject | None = None) -> Any:
        answer = self._api.call("POST", f"{_ROOT}{path}", body or {}, idempotency_key=new_id("req"))
        if answer.is_refusal:
            raise ExpectationFailed(f"{self.name} takes POST {path}", str(answer))
        return answer.body

    # Partners

    def finds_therapists(self, state: str) -> list[str]:
        required = {"role": "therapy_provider", "licence_state": state}
        found = self.tell("/directory/search", {"required": required})
        return [match["practice"]["display_name"] for match in found["matches"]]

    def proposes_partnership(self, partner: "Practice") -> str:
        return str(self.tell("/partners", {"practice_id": partner.practice_id})["partnership_id"])

    def partnership(self, partnership_id: str) -> Item | None:
        return next(
            (each for each in self.ask("/partners") if each["partnership_id"] == partnership_id), None
        )

    def fingerprints(self, partnership_id: str) -> Item:
        """Both sides' digits, as soon as the partner's service has published its keys."""
        answer = eventually(
            f"{self.name} can compare fingerprints",
            lambda: self.try_to_ask(f"/partners/{partnership_id}/fingerprints"),
            lambda seen: not seen.is_refusal,
        )
        found: Item = answer.body
        return found

    def confirms_fingerprint(self, partnership_id: str, digits: str) -> None:
        self.tell(f"/partners/{partnership_id}/fingerprint", {"digits": digits})

    def confirms_partnership(self, partnership_id: str) -> None:
        self.tell(f"/partners/{partnership_id}/confirm")

    # Patients and referrals

    def registers(self, identity: JsonObject) -> str:
        return str(self.tell("/patients", {"identity": identity})["patient_id"])

    def refers(
        self,
        patient_id: str,
        partnership_id: str,
        kind: str,
        form: JsonObject,
        *,
        note: str = "",
        replaces: str = "",
    ) -> Item:
        body: JsonObject = {
            "patient_id": patient_id,
            "partnership_id": partnership_id,
            "kind": kind,
            "basis": "written",
            "evidence": form,
        }
        body |= {"note": note} if note else {}
        body |= {"replaces_referral_id": replaces} if replaces else {}
        made: Item = self.tell("/referrals", body)
        return made

    def referral(self, referral_id: str) -> Item | None:
        answer = self.try_to_ask(f"/referrals/{referral_id}")
        return None if answer.status == 404 else answer.body

    def takes_in(self, referral_id: str) -> str:
        return str(self.tell(f"/referrals/{referral_id}/intake", {})["patient_id"])

    def moves(self, referral_id: str, move: str, **details: str) -> Item:
        moved: Item = self.tell(f"/referrals/{referral_id}/{move}", dict(details))
        return moved

    def sees_referral(self, referral_id: str, state: str) -> Item:
        return (
            eventually(
                f"{self.name} sees the referral as {state}",
                lambda: self.referral(referral_id),
                lambda seen: seen is not None and seen["state"] == state,
            )
            or {}
        )

    # Permissions

    def grants(
        self,
        episode_id: str,
        recipient: "Practice",
        patient: JsonObject,
        categories: Iterable[str],
        information: str,
        *,
        history_from: str = "",
    ) -> str:
        body: JsonObject = {
            "episode_id": episode_id,
            "categories": sorted(categories),
            "purpose": "treatment",
            "basis": "written",
            "evidence": a_form(patient, self.name, recipient.name, information),
        }
        body |= {"history_from": history_from} if history_from else {}
        return str(self.tell("/permissions", body)["permission_id"])

    def revokes(self, permission_id: str) -> Item:
        answer: Item = self.tell(f"/permissions/{permission_id}/revoke")
        return answer

    def permission(self, permission_id: str) -> Item:
        found: Item = self.ask(f"/permissions/{permission_id}")
        return found

    def explains(self, entry_id: str) -> Item:
        found: Item = self.ask(f"/entries/{entry_id}/explain")
        return found

    # The care plan

    def records(self, patient_id: str, kind: str, content: JsonObject, **more: Any) -> Item:
        """The record, with the id that it has in each open episode."""
        made: Item = self.tell(f"/patients/{patient_id}/entries", {"kind": kind, "content": content, **more})
        return made

    def plan(self, patient_id: str, kind: str = "") -> list[Item]:
        found: list[Item] = self.ask(f"/patients/{patient_id}/plan")["items"]
        return [item for item in found if kind in ("", item["kind"])]

    def sees_entry(self, patient_id: str, entry_id: str, what: str) -> Item:
        """Wait until the partner's entry is in the care plan here."""
        found = eventually(
            f"{self.name} sees {what}",
            lambda: [item for item in self.plan(patient_id) if item["id"] == entry_id],
            lambda seen: [item["state"] for item in seen] == ["active"],
        )
        return found[0]

    def has_nothing_like(self, patient_id: str, entry_id: str, words: str) -> tuple[bool, list[Item]]:
        """Whether neither that entry nor these words are anywhere in the care plan."""
        seen = self.plan(patient_id)
        return not any(item["id"] == entry_id or words in str(item["content"]) for item in seen), seen

    def accounting(self, episode_id: str) -> list[Item]:
        found: list[Item] = self.ask("/accounting", episode_id=episode_id)["disclosures"]
        return found
