"""Reading pathway files: those that are shipped, and those that a practice adds."""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from tandem_care.errors import Invalid
from tandem_care.pathways.model import Pathway


class PathwayFault(ValueError):
    """A pathway file that cannot be used. Says the file, the field, and what it needs."""

    def __init__(self, file: str, field: str, message: str) -> None:
        super().__init__(": ".join(part for part in (file, field, message) if part))
        self.file = file
        self.field = field
        self.message = message


def read_pathway(file: str, text: str) -> Pathway:
    """The pathway in *text*; *file* only names it where something is wrong."""
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise PathwayFault(file, "", f"is not TOML: {fault}") from None
    try:
        pathway = Pathway.from_fields(fields)
    except Invalid as fault:
        raise PathwayFault(file, fault.field, fault.message) from None
    if not file.startswith(pathway.code):
        raise PathwayFault(file, "code", "must begin the name of the file")
    return pathway


class Catalogue:
    """Pathways by code and version. A plan keeps to the version under which it was made."""

    def __init__(self, files: Iterable[tuple[str, str]]) -> None:
        found: dict[str, dict[int, Pathway]] = {}
        for file, text in files:
            pathway = read_pathway(file, text)
            versions = found.setdefault(pathway.code, {})
            if pathway.version in versions:
                raise PathwayFault(file, "version", "is there already: a change needs a new number")
            versions[pathway.version] = pathway
        self._found: Mapping[str, Mapping[int, Pathway]] = MappingProxyType(found)

    def current(self) -> tuple[Pathway, ...]:
        """The newest version of each, by code."""
        return tuple(self.of(code) for code in sorted(self._found))

    def of(self, code: str, version: int | None = None) -> Pathway:
        """The newest version, or the one asked for. Raises Invalid if there is none."""
        versions = self._found.get(code)
        if versions is None:
            raise Invalid("pathway", f"is not one of {', '.join(sorted(self._found))}")
        found = versions.get(max(versions) if version is None else version)
        if found is None:
            raise Invalid("pathway_version", f"is not one of {', '.join(map(str, sorted(versions)))}")
        return found


def shipped_files() -> tuple[tuple[str, str], ...]:
    folder = resources.files("tandem_care.pathways")
    files = (each for each in folder.iterdir() if each.name.endswith(".toml"))
    return tuple((each.name, each.read_text("utf-8")) for each in sorted(files, key=lambda each: each.name))


@cache
def shipped() -> Catalogue:
    return Catalogue(shipped_files())


def with_own(files: Iterable[tuple[str, str]]) -> Catalogue:
    """What is shipped and the files of a practice, which may bring a newer version of either."""
    return Catalogue((*shipped_files(), *files))
