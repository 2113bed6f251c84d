"""`tandem certs`: a development certificate authority."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
from cryptography import x509

from tandem_ops.certs import LONGEST_NETWORK, AuthorityOfAnotherNetwork, DevelopmentCA, Issued, Wish
from tandem_ops.console import Exit, Output, Stop, usable
from tandem_ops.options import json_option
from tandem_platform.rpc.identity import (
    NETWORK,
    IdentityRefused,
    caller_from_uri,
    operator_uri,
    practice_uri,
)
from tandem_platform.unreadable import UNREADABLE

P = ParamSpec("P")
R = TypeVar("R")

_EPILOG = """\b
Examples:
  tandem certs ca --authority ca --network tandem.example
  tandem certs hub --authority ca --out hub/tls
  tandem certs practice prac_abc --authority ca --out juniper/tls
  tandem certs operator kim --authority ca --out operator
  tandem certs revoke juniper/tls/cert.pem --authority ca
\b
The authority's key can make anybody any member: keep its directory away from the hub.
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Issue and revoke certificates, for development and for a small network that runs its own authority."""


class NetworkName(click.ParamType[str]):
    name = "NAME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if len(value) > LONGEST_NETWORK or not NETWORK.fullmatch(value):
            self.fail(
                f"{value!r} cannot be a network's name: up to {LONGEST_NETWORK} lower-case characters,"
                " such as tandem.example",
                param,
                ctx,
            )
        return value


def _authority_options(function: Callable[P, R]) -> Callable[P, R]:
    function = click.option(
        "--network",
        type=NetworkName(),
        help="The network's name, as in every identity. [default: the authority's; tandem.local for a new one]",
    )(function)
    return click.option(
        "--authority",
        type=click.Path(file_okay=False, path_type=Path),
        required=True,
        help="Directory that holds the authority.",
    )(function)


def _leaf_options(function: Callable[P, R]) -> Callable[P, R]:
    function = click.option(
        "--days", type=click.IntRange(1, 398), default=30, show_default=True, help="Days until it ends."
    )(function)
    function = click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        required=True,
        help="Where cert.pem, key.pem and ca.pem go.",
    )(function)
    return _authority_options(json_option(function))


@command.command("ca", epilog=_EPILOG)
@_authority_options
@json_option
def make_authority(authority: Path, network: str | None, as_json: bool) -> None:
    """Make an authority, or show the one that is there."""
    with usable("--authority", authority):
        new = not (authority / "ca.key").exists()
        ca = _opened(authority, network)
    Output(as_json).facts({"authority": ca.directory, "network": ca.network, "new": new})


@command.command("practice", epilog=_EPILOG)
@click.argument("practice_id")
@_leaf_options
def issue_practice(
    practice_id: str, authority: Path, network: str | None, out: Path, days: int, as_json: bool
) -> None:
    """For a practice's calls to the hub.

    PRACTICE_ID is the id under which the operator admits it: see `tandem practice register`.
    """
    _require_name(practice_uri(_ANY, practice_id))
    _issue(authority, network, out, days, as_json, lambda ca, wish: ca.issue_practice(practice_id, wish))


@command.command("hub", epilog=_EPILOG)
@_leaf_options
def issue_hub(authority: Path, network: str | None, out: Path, days: int, as_json: bool) -> None:
    """For the hub's server."""
    _issue(authority, network, out, days, as_json, lambda ca, wish: ca.issue_hub(wish))


@command.command("operator", epilog=_EPILOG)
@click.argument("operator_id")
@_leaf_options
def issue_operator(
    operator_id: str, authority: Path, network: str | None, out: Path, days: int, as_json: bool
) -> None:
    """For a person who runs the network.

    OPERATOR_ID is a name for that person, such as kim.
    """
    _require_name(operator_uri(_ANY, operator_id))
    _issue(authority, network, out, days, as_json, lambda ca, wish: ca.issue_operator(operator_id, wish))


@command.command("server", epilog=_EPILOG)
@click.argument("name", nargs=-1, required=True)
@_leaf_options
def issue_server(
    name: tuple[str, ...], authority: Path, network: str | None, out: Path, days: int, as_json: bool
) -> None:
    """For a clinic's own servers.

    NAME is a DNS name or an address by which its web and gRPC servers are reached. Repeatable.
    """
    _issue(authority, network, out, days, as_json, lambda ca, wish: ca.issue_server(name, wish))


@command.command("revoke", epilog=_EPILOG)
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_authority_options
@json_option
def revoke(certificate: Path, authority: Path, network: str | None, as_json: bool) -> None:
    """Put CERTIFICATE on the authority's list.

    The list is revoked.txt in the authority's directory. The hub asks it at every call: see that
    TANDEM_REVOKED_SERIALS names that file, or a copy of it. Revoking twice changes nothing.
    """
    ca = _existing(authority, network)
    pem = certificate.read_bytes()
    try:
        ours = ca.issued(pem)
    except UNREADABLE:
        raise Stop(Exit.USAGE, f"{certificate} holds no certificate", "name a cert.pem") from None
    if not ours:
        raise Stop(
            Exit.USAGE,
            f"the authority in {authority} did not issue {certificate}",
            "name the one that did with --authority: a hub asks its own authority's list",
        )
    serial = ca.revoke(pem)
    Output(as_json).facts({"revoked": f"{serial:x}", "list": ca.revoked_path})


_ANY = "tandem.local"


def _require_name(uri: str) -> None:
    """A certificate with a name that the hub does not read would be refused at every call."""
    try:
        caller_from_uri(uri, _ANY)
    except IdentityRefused:
        raise Stop(
            Exit.USAGE,
            f"{uri.rpartition('/')[2]} cannot be a name",
            "use a to z, 0 to 9, - and _, beginning with a letter or digit",
        ) from None


def _existing(authority: Path, network: str | None) -> DevelopmentCA:
    with usable("--authority", authority):
        if not (authority / "ca.key").exists():
            raise Stop(
                Exit.USAGE,
                f"--authority {authority}: there is no authority",
                f"make one with: tandem certs ca --authority {authority}",
            )
        return _opened(authority, network)


def _opened(authority: Path, network: str | None) -> DevelopmentCA:
    try:
        return DevelopmentCA(authority, network)
    except AuthorityOfAnotherNetwork as other:
        raise Stop(Exit.USAGE, f"--network {network}: {other}", "leave --network away") from None
    except UNREADABLE:
        raise Stop(
            Exit.USAGE, f"ca.key or ca.pem in {authority} is damaged", "restore them from a backup"
        ) from None


def _issue(
    authority: Path,
    network: str | None,
    out: Path,
    days: int,
    as_json: bool,
    make: Callable[[DevelopmentCA, Wish], Issued],
) -> None:
    ca = _existing(authority, network)
    wish = Wish(not_after=datetime.now(UTC) + timedelta(days=days))
    try:
        issued = make(ca, wish)
    except ValueError as refused:
        raise Stop(Exit.USAGE, str(refused)) from None
    with usable("--out", out):
        files = issued.write(out)
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
    Output(as_json).facts(
        {
            "certificate": files.certificate,
            "serial": f"{issued.serial:x}",
            "good_until": certificate.not_valid_after_utc.isoformat(timespec="seconds"),
        }
    )
