"""The prescriber's service, put together: what every clinic has, and what a practice that evaluates and prescribes adds."""

from pathlib import Path

from flask import Flask

from tandem_clinic.grpc.server import rpc_with
from tandem_clinic.http.app import create_app
from tandem_clinic.node import ClinicNode
from tandem_clinic.process import ClinicService, entrance_of
from tandem_prescriber.grpc.services import servicers
from tandem_prescriber.http import treatment
from tandem_prescriber.store.tables import metadata


def application(node: ClinicNode) -> Flask:
    return create_app(entrance_of(node), [treatment.api])


SERVICE = ClinicService(
    "prescriber", metadata, Path(__file__).parent / "migrations", application, rpc_with(servicers)
)
