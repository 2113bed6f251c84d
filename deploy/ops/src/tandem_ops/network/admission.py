"""Practices of the plan become members of the network."""

import grpc

from tandem.directory.v1 import directory_pb2 as pb
from tandem.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from tandem_ops.network.plan import LOOPBACK, Layout, NetworkPlan, PracticePlan
from tandem_platform.errors import Code
from tandem_platform.ids import new_id
from tandem_platform.rpc.client import refusal_of, retry_safe_methods, secure_channel
from tandem_platform.rpc.tls import TlsFiles

_TIMEOUT = 10.0


def admit_practices(layout: Layout, plan: NetworkPlan, hub: str = "") -> list[PracticePlan]:
    """Register with the operator's certificate whom the hub does not know yet; give those that were new.

    *hub*: its address, if it is not on this machine.
    """
    directory = pb.DESCRIPTOR.services_by_name["DirectoryService"]
    with secure_channel(
        hub or f"{LOOPBACK}:{plan.hub.grpc}",
        TlsFiles.in_directory(layout.operator),
        default_timeout=_TIMEOUT,
        retry_safe=retry_safe_methods(directory),
    ) as channel:
        stub = DirectoryServiceStub(channel)
        return [practice for practice in plan.practices if _admit(stub, practice)]


def _admit(stub: DirectoryServiceStub, practice: PracticePlan) -> bool:
    request = pb.RegisterPracticeRequest(request_id=new_id("req"), practice=_profile(practice))
    try:
        stub.RegisterPractice(request)
    except grpc.RpcError as error:
        refusal = refusal_of(error)
        if refusal.code is Code.ALREADY_EXISTS:
            return False
        raise refusal from None
    return True


def _profile(practice: PracticePlan) -> pb.Practice:
    return pb.Practice(
        practice_id=practice.practice_id,
        display_name=practice.display_name,
        roles=[practice.service],
        licence_states=practice.licence_states,
        modalities=practice.modalities,
        languages=practice.languages,
        telehealth=practice.telehealth,
        contact_phone=practice.contact_phone,
        on_call_phone=practice.on_call_phone,
    )
