"""ConsentService."""

from tandem.common.v1.common_pb2 import EFFECT_DENY, EFFECT_PERMIT
from tandem.consent.v1 import consent_pb2 as pb
from tandem_platform.errors import Code, Refusal
from tandem_platform.rpc.dispatch import Call
from tandem_platform.storage import Database
from tandem_referral.grpc.pages import PageTokens, page_size
from tandem_referral.store import entries, permissions
from tandem_referral.usecases import consent
from tandem_referral.usecases.hub_time import HubTime


class EffectUnfit(Refusal):
    def __init__(self, expected: str) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "EFFECT_UNFIT",
            f"this call takes permissions with the effect {expected} only",
            field="permission.effect",
            way_out=f"set the effect to {expected}, or use the other call",
        )


class EntryNotFound(Refusal):
    def __init__(self) -> None:
        super().__init__(Code.NOT_FOUND, "ENTRY_NOT_FOUND", "there is no such entry")


class ConsentServicer:
    def __init__(self, database: Database, time: HubTime, pages: PageTokens) -> None:
        self._database = database
        self._time = time
        self._pages = pages

    def GrantConsent(self, request: pb.GrantConsentRequest, call: Call) -> pb.GrantConsentResponse:
        if request.permission.effect != EFFECT_PERMIT:
            raise EffectUnfit("permit")
        made = consent.grant(call.tx, request.permission, call.caller.id, self._time.decision_time(call.tx))
        return pb.GrantConsentResponse(permission=made)

    def DenyConsent(self, request: pb.DenyConsentRequest, call: Call) -> pb.DenyConsentResponse:
        if request.permission.effect != EFFECT_DENY:
            raise EffectUnfit("deny")
        made, voided = consent.deny(
            call.tx, request.permission, call.caller.id, self._time.decision_time(call.tx)
        )
        return pb.DenyConsentResponse(permission=made, voided=voided)

    def RevokeConsent(self, request: pb.RevokeConsentRequest, call: Call) -> pb.RevokeConsentResponse:
        now = self._time.decision_time(call.tx)
        ended, voided = consent.end(call.tx, request.permission_id, call.caller.id, now, "revoked")
        return pb.RevokeConsentResponse(permission=_seen_by(call.caller.id, ended), voided=voided)

    def HoldConsent(self, request: pb.HoldConsentRequest, call: Call) -> pb.HoldConsentResponse:
        now = self._time.decision_time(call.tx)
        ended, voided = consent.end(call.tx, request.permission_id, call.caller.id, now, "held")
        return pb.HoldConsentResponse(permission=_seen_by(call.caller.id, ended), voided=voided)

    def GetConsent(self, request: pb.GetConsentRequest, call: Call) -> pb.GetConsentResponse:
        with self._database.reading() as tx:
            row = permissions.find_visible(tx, request.permission_id, call.caller.id)
            if row is None:
                raise consent.PermissionNotFound
            return pb.GetConsentResponse(permission=_seen_by(call.caller.id, permissions.to_message(row)))

    def ListConsents(self, request: pb.ListConsentsRequest, call: Call) -> pb.ListConsentsResponse:
        size = page_size(request.page_size)
        position = self._pages.read(call.caller.id, request)
        after = str(position[0]) if position else ""
        with self._database.reading() as tx:
            rows = permissions.listed(tx, call.caller.id, request.episode_id, after, size + 1)
        response = pb.ListConsentsResponse(
            permissions=[_seen_by(call.caller.id, permissions.to_message(row)) for row in rows[:size]]
        )
        if len(rows) > size:
            response.next_page_token = self._pages.make(
                call.caller.id, request, [rows[size - 1].permission_id]
            )
        return response

    def ExplainRelease(self, request: pb.ExplainReleaseRequest, call: Call) -> pb.ExplainReleaseResponse:
        with self._database.reading() as tx:
            row = entries.decision_on(tx, request.entry_id, call.caller.id)
        if row is None:
            raise EntryNotFound
        response = pb.ExplainReleaseResponse(
            result=row.result,
            rule=row.rule,
            permission_id=row.permission_id,
            permission_version=row.permission_version,
        )
        response.decided_at.FromDatetime(row.decided_at)
        if row.delivered_at is not None:
            response.delivered_at.FromDatetime(row.delivered_at)
        return response


def _seen_by(practice_id: str, permission: pb.Permission) -> pb.Permission:
    """The form stays with who keeps it: its hash is the discloser's business."""
    if permission.discloser_practice_id != practice_id:
        permission.ClearField("evidence_hash")
    return permission
