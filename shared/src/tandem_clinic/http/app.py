"""The Flask application: blueprints, strict parsing, problems, description of the API."""

from collections.abc import Sequence
from typing import Any

from flask import Flask
from flask_smorest import Api

from tandem_clinic.http import (
    care,
    consent,
    courses,
    desk,
    directory,
    dosing,
    episode_course,
    measures,
    network,
    notifications,
    partners,
    referral_course,
    shortlist,
)
from tandem_clinic.http.entrance import Entrance, install
from tandem_clinic.http.problems import ProblemSchema, handle_problems
from tandem_clinic.http.resources import Resources

LARGEST_BODY = 2 * 1024 * 1024


class ProblemApi(Api):  # type: ignore[misc] # flask-smorest has no types
    """Errors are handled by `problems`; here they are only described."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """None of its own."""


def create_app(entrance: Entrance, more: Sequence[Resources] = ()) -> Flask:
    """more: what a service adds to what every clinic has."""
    app = Flask("tandem_clinic", static_folder=None)
    app.config.update(
        API_TITLE="Tandem clinic",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api/v1",
        OPENAPI_JSON_PATH="openapi.json",
        MAX_CONTENT_LENGTH=LARGEST_BODY,
        API_SPEC_OPTIONS={
            "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
            "security": [{"token": []}],
        },
    )
    handle_problems(app)
    install(app, entrance)
    api = ProblemApi(app)
    for resources in (
        care.api,
        courses.api,
        dosing.api,
        shortlist.api,
        consent.api,
        referral_course.api,
        episode_course.api,
        network.api,
        directory.api,
        partners.api,
        desk.api,
        notifications.api,
        measures.api,
        *more,
    ):
        api.register_blueprint(resources.blueprint)
    app.after_request(_guard)
    return app


def _guard(response: Any) -> Any:
    """Patients' data are not for caches, frames or guessing browsers."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    return response
