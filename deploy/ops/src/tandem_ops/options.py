"""Options that several subcommands share, and what may stand behind them."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from tandem_ops.console import Exit, Stop

P = ParamSpec("P")
R = TypeVar("R")


class Address(click.ParamType[str]):
    """host:port; several with commas between them where *several*."""

    name = "HOST:PORT"

    def __init__(self, *, several: bool = False) -> None:
        self._several = several

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from tandem_platform.settings import address  # takes SQLAlchemy with it

        for each in value.split(",") if self._several else [value]:
            try:
                address(each)
            except ValueError as unfit:
                self.fail(f"{each!r} {unfit}, such as 127.0.0.1:7443", param, ctx)
        return value


class PostgresUrl(click.ParamType[str]):
    """Of a server. What is unfit is not repeated: it may hold a password."""

    name = "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            driver = make_url(value).drivername
        except (ArgumentError, ValueError):
            driver = ""
        if driver != "postgresql+psycopg":
            self.fail("must be postgresql+psycopg://user:password@host:port", param, ctx)
        return value


def directory_option(function: Callable[P, R]) -> Callable[P, R]:
    return click.option(
        "--directory",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(".tandem"),
        show_default=True,
        envvar="TANDEM_DIRECTORY",
        show_envvar=True,
        help="Where `tandem up` keeps the network's files.",
    )(function)


def json_option(function: Callable[P, R]) -> Callable[P, R]:
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Answer with one JSON document on standard output, or with one error on standard error.",
    )(function)


def server_options(function: Callable[..., R]) -> Callable[..., R]:
    """`with_kafka`, `kafka` and `postgres`, as a plan has them: what a network that is started here runs on."""

    @wraps(function)
    def with_servers(*, no_kafka: bool, kafka: str | None, postgres: str | None, **others: Any) -> R:
        if no_kafka and kafka:
            raise Stop(Exit.USAGE, "--no-kafka and --kafka exclude each other", "leave one of them away")
        return function(with_kafka=not no_kafka, kafka=kafka or "", postgres=postgres or "", **others)

    made: Callable[..., R] = with_servers
    for option in (
        click.option(
            "--postgres",
            type=PostgresUrl(),
            help="A PostgreSQL server, on which each member gets a database, instead of SQLite files.",
        ),
        click.option(
            "--kafka",
            type=Address(several=True),
            help="A Kafka broker that runs already, instead of one that is started along.",
        ),
        click.option("--no-kafka", is_flag=True, help="Start no broker: everything goes by gRPC."),
    ):
        made = option(made)
    return made


def hub_options(function: Callable[P, R]) -> Callable[P, R]:
    """`hub` and `certificates`: for a hub that `tandem up` did not start."""
    for option in (
        click.option(
            "--certificates",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Directory with an operator's cert.pem, key.pem and ca.pem. [default: DIRECTORY/operator]",
        ),
        click.option("--hub", type=Address(), help="The hub's gRPC address. [default: the one in DIRECTORY]"),
    ):
        function = option(function)
    return directory_option(function)


def clinic_options(function: Callable[P, R]) -> Callable[P, R]:
    """Which clinic is asked, and by which token: what `clinic_api` takes."""
    for option in (
        click.option(
            "--token-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="File that holds an access token. [default: the one in DIRECTORY]",
        ),
        click.option(
            "--clinic", metavar="URL", help="A clinic that `tandem up` did not start; with --token-file."
        ),
        click.option("--practice", metavar="NAME", help="A clinic of DIRECTORY, by name or practice id."),
    ):
        function = option(function)
    return directory_option(function)
