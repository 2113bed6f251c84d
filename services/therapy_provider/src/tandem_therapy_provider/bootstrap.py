"""The therapy provider's service, put together: what every clinic has, and what a practice that gives the psychotherapy adds."""

from pathlib import Path

from flask import Flask

from tandem_clinic.grpc.server import rpc_with
from tandem_clinic.http.app import create_app
from tandem_clinic.node import ClinicNode
from tandem_clinic.process import ClinicService, entrance_of
from tandem_therapy_provider.grpc.services import servicers
from tandem_therapy_provider.http import notes, practice
from tandem_therapy_provider.store.tables import metadata


def application(node: ClinicNode) -> Flask:
    return create_app(entrance_of(node), [practice.api, notes.api])


SERVICE = ClinicService(
    "therapy_provider", metadata, Path(__file__).parent / "migrations", application, rpc_with(servicers)
)
