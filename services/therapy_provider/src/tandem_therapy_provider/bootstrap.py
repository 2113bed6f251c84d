"""The therapy provider's service, put together: what every clinic has, and what a practice that gives the psychotherapy adds."""

from pathlib import Path

from flask import Flask

from tandem_clinic.http.app import create_app
from tandem_clinic.http.entrance import Entrance
from tandem_clinic.node import ClinicNode
from tandem_clinic.process import ClinicService
from tandem_therapy_provider.store.tables import metadata


def application(node: ClinicNode) -> Flask:
    return create_app(Entrance(node.clinic, node.journal, lambda: node.health()))


SERVICE = ClinicService("therapy_provider", metadata, Path(__file__).parent / "migrations", application)
