"""EpisodeService."""

from tandem.clinic.v1 import episode_pb2 as pb
from tandem.common.v1.common_pb2 import EFFECT_DENY
from tandem_care.errors import Invalid
from tandem_care.lifecycle import Move, Urgency
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.episodes import ReferralView
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import COORDINATION
from tandem_clinic.grpc.entrance import staff_of
from tandem_clinic.grpc.translation import evidence_of, json_fields, plan_item_message
from tandem_clinic.hub import journal
from tandem_clinic.hub.journal import Journal
from tandem_clinic.hub.times import put_time, time_in
from tandem_clinic.store import episodes as episode_store
from tandem_clinic.store import referrals as store
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.usecases import entries, permissions, plan, referrals
from tandem_clinic.usecases.consequences import record_followed
from tandem_clinic.usecases.entries import ExternalIdentifier
from tandem_platform.rpc import words
from tandem_platform.rpc.dispatch import Call
from tandem_platform.storage import Transaction

WAIT_FOR_HUB = 5.0


class EpisodeServicer:
    def __init__(self, clinic: Clinic, sender: Journal) -> None:
        self._clinic = clinic
        self._sender = sender

    def RequestReferral(self, request: pb.RequestReferralRequest, call: Call) -> pb.RequestReferralResponse:
        made = referrals.request_referral(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.patient_id,
            request.partnership_id,
            request.kind,
            evidence_of(request.evidence),
            urgency=request.urgency or Urgency.ROUTINE,
            note=request.note,
            replaces_referral_id=request.replaces_referral_id,
            continues_referral_id=request.continues_referral_id,
        )
        return pb.RequestReferralResponse(
            referral_id=made.referral_id, episode_id=made.episode_id, command_request_id=made.request_id
        )

    def ListReferrals(self, request: pb.ListReferralsRequest, call: Call) -> pb.ListReferralsResponse:
        with self._clinic.db.reading() as tx:
            staff_of(tx, call).require(COORDINATION)
            found = store.listed(tx, state=request.state, intake=request.intake)
            return pb.ListReferralsResponse(referrals=[self._referral(tx, each) for each in found])

    def _referral(self, tx: Transaction, found: ReferralView) -> pb.Referral:
        episode = episode_store.find(tx, found.episode_id)
        message = pb.Referral(
            referral_id=found.referral_id,
            episode_id=found.episode_id,
            patient_id=(episode.patient_id if episode else None) or "",
            partnership_id=found.partnership_id,
            referrer_practice_id=found.referrer_practice_id,
            recipient_practice_id=found.recipient_practice_id,
            kind=found.kind,
            urgency=found.urgency,
            state=found.state,
            reason=found.reason,
            outcome=found.outcome,
            version=found.version,
            intake=found.intake,
            moves=referrals.possible_moves(tx, self._clinic, found),
        )
        put_time(message, "requested_at", found.requested_at)
        put_time(message, "changed_at", found.changed_at)
        return message

    def TakeInReferral(self, request: pb.TakeInReferralRequest, call: Call) -> pb.TakeInReferralResponse:
        patient_id = referrals.take_in_referral(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.referral_id,
            patient_id=request.patient_id or None,
            acknowledge_duplicates=request.acknowledge_duplicates,
        )
        return pb.TakeInReferralResponse(patient_id=patient_id)

    def MoveReferral(self, request: pb.MoveReferralRequest, call: Call) -> pb.MoveReferralResponse:
        if request.move not in list(Move):
            raise ContentInvalid(Invalid("move", f"must be one of {', '.join(Move)}"))
        moved = referrals.move_referral(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.referral_id,
            Move(request.move),
            reason=request.reason or None,
            outcome=request.outcome,
            comment=request.comment,
        )
        return pb.MoveReferralResponse(command_request_id=moved.request_id)

    def AskPermission(self, request: pb.AskPermissionRequest, call: Call) -> pb.AskPermissionResponse:
        by = staff_of(call.tx, call)
        terms = permissions.terms_from(
            [words.category_code(number) for number in request.categories],
            words.purpose_code(request.purpose),
            starts_at=time_in(request, "starts_at"),
            ends_at=time_in(request, "ends_at"),
            history_from=time_in(request, "history_from"),
        )
        evidence = evidence_of(request.evidence)
        if request.effect == EFFECT_DENY:
            asked = permissions.deny_permission(
                call.tx, self._clinic, by, request.episode_id, terms, evidence
            )
        else:
            asked = permissions.grant_permission(
                call.tx,
                self._clinic,
                by,
                request.episode_id,
                terms,
                evidence,
                reason_after_dosing=request.reason_after_dosing,
            )
        return pb.AskPermissionResponse(permission_id=asked.subject_id, command_request_id=asked.request_id)

    def RevokePermission(
        self, request: pb.RevokePermissionRequest, call: Call
    ) -> pb.RevokePermissionResponse:
        asked = permissions.revoke_permission(
            call.tx, self._clinic, staff_of(call.tx, call), request.permission_id
        )
        return pb.RevokePermissionResponse(command_request_id=asked.request_id)

    def HoldPermission(self, request: pb.HoldPermissionRequest, call: Call) -> pb.HoldPermissionResponse:
        asked = permissions.hold_permission(
            call.tx, self._clinic, staff_of(call.tx, call), request.permission_id
        )
        return pb.HoldPermissionResponse(command_request_id=asked.request_id)

    def RecordEntry(self, request: pb.RecordEntryRequest, call: Call) -> pb.RecordEntryResponse:
        known = request.identifier
        made = record_followed(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.patient_id,
            entries.content_from(request.kind, json_fields(request.content_json, "content_json")),
            episode_id=request.episode_id or None,
            authored_at=time_in(request, "authored_at"),
            derived_from=[words.category_code(number) for number in request.derived_from],
            identifier=ExternalIdentifier(known.system, known.value)
            if request.HasField("identifier")
            else None,
        )
        return pb.RecordEntryResponse(record_id=made.record_id, entry_ids=made.entry_ids, is_new=made.is_new)

    def AmendEntry(self, request: pb.AmendEntryRequest, call: Call) -> pb.AmendEntryResponse:
        by = staff_of(call.tx, call)
        kind = entries.kind_of_record(call.tx, self._clinic, by, request.record_id)
        content = entries.content_from(kind, json_fields(request.content_json, "content_json"))
        made = entries.amend_entry(call.tx, self._clinic, by, request.record_id, content)
        return pb.AmendEntryResponse(record_id=made.record_id, entry_ids=made.entry_ids)

    def TakeBackEntry(self, request: pb.TakeBackEntryRequest, call: Call) -> pb.TakeBackEntryResponse:
        made = entries.take_back_entry(call.tx, self._clinic, staff_of(call.tx, call), request.record_id)
        return pb.TakeBackEntryResponse(record_id=made.record_id)

    def ReadCarePlan(self, request: pb.ReadCarePlanRequest, call: Call) -> pb.ReadCarePlanResponse:
        def work(tx: Transaction) -> pb.ReadCarePlanResponse:
            items = plan.read_care_plan(
                tx,
                self._clinic,
                staff_of(tx, call),
                request.patient_id,
                episode_id=request.episode_id or None,
            )
            return pb.ReadCarePlanResponse(items=[plan_item_message(item) for item in items])

        return self._clinic.db.run(work)

    def GetCommand(self, request: pb.GetCommandRequest, call: Call) -> pb.GetCommandResponse:
        with self._clinic.db.reading() as tx:
            staff_of(tx, call).require(COORDINATION)
            if journal.find(tx, request.command_request_id) is None:
                raise NotKnown("command", "command_request_id")
        seconds = min(WAIT_FOR_HUB, call.remaining() / 2)
        command = self._sender.press(request.command_request_id, seconds)
        return pb.GetCommandResponse(
            state=command.state, reason=command.last_failure, message=command.refusal_message
        )
