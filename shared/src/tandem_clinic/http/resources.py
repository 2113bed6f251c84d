"""Groups of resources: flask-smorest's blueprints with strict parsing, and with types."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from flask_smorest import Blueprint
from marshmallow import RAISE, Schema
from webargs.flaskparser import FlaskParser

from tandem_platform.errors import Code, Refusal

F = TypeVar("F", bound=Callable[..., Any])


class Decorator(Protocol):
    def __call__(self, view: F, /) -> F: ...


QUEUED = "queued, not confirmed"


class StrictParser(FlaskParser):
    """Unknown query parameters are refused like unknown fields: a misspelt filter must not return everything."""

    DEFAULT_UNKNOWN_BY_LOCATION = {  # noqa: RUF012 - declared so by webargs
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": RAISE,
        "json": RAISE,
    }

    def load_json(self, req: Any, schema: Schema) -> Any:
        try:
            return super().load_json(req, schema)
        except RecursionError:
            raise NestedTooDeep from None


class NestedTooDeep(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "CONTENT_INVALID",
            "the body is nested too deep",
            way_out="no field here has more than a few levels",
        )


class Resources:
    """What stands under /api/v1, in one group of the API's description."""

    def __init__(self, name: str, module: str, description: str | None) -> None:
        self.blueprint = Blueprint(name, module, url_prefix="/api/v1", description=description)
        self.blueprint.ARGUMENTS_PARSER = StrictParser()

    def get(self, path: str) -> Decorator:
        return self._route(path, "GET")

    def post(self, path: str) -> Decorator:
        return self._route(path, "POST")

    def put(self, path: str) -> Decorator:
        return self._route(path, "PUT")

    def _route(self, path: str, method: str) -> Decorator:
        return cast(Decorator, self.blueprint.route(path, methods=[method]))

    def body(self, schema: type[Schema]) -> Decorator:
        return cast(Decorator, self.blueprint.arguments(schema))

    def query(self, schema: type[Schema]) -> Decorator:
        return cast(Decorator, self.blueprint.arguments(schema, location="query"))

    def answer(self, status: int, schema: Schema | type[Schema] | None = None) -> Decorator:
        return cast(Decorator, self.blueprint.response(status, schema))

    def or_queued(self, schema: type[Schema]) -> Decorator:
        return self.or_answer(202, schema, QUEUED)

    def or_answer(self, status: int, schema: type[Schema], description: str) -> Decorator:
        return cast(Decorator, self.blueprint.alt_response(status, schema=schema, description=description))

    def without_token(self) -> Decorator:
        return cast(Decorator, self.blueprint.doc(security=[]))
