"""Refusals that the stores raise."""

from tandem_platform.errors import Code, Refusal


class NotKnown(Refusal):
    """There is no such thing here."""

    def __init__(self, thing: str, field: str | None = None) -> None:
        super().__init__(
            Code.NOT_FOUND, f"{thing.upper().replace(' ', '_')}_NOT_FOUND", f"no such {thing}", field=field
        )


class ChangedMeanwhile(Refusal):
    def __init__(self, thing: str) -> None:
        super().__init__(
            Code.ABORTED,
            "STALE_VERSION",
            f"the {thing} has changed since you read it",
            field="version",
            way_out="read it again and decide anew",
        )
