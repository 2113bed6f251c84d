"""Statements that come again: compiled once, and handed to the driver as they are.

SQLAlchemy builds them. What it does at each execution beside (cache key, parameters, result) takes longer than
the driver and the server together, and a service's work is mostly short statements.
"""

import weakref
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Insert, TextClause
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

Process = Callable[[Any], Any]


class Rows(Sequence[Any]):
    """What a statement gave, read to its end. Each row has its columns as attributes, as SQLAlchemy's rows have."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def all(self) -> Sequence[Any]:
        return self._rows

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        (row,) = self._rows
        return row

    def scalar_one(self) -> Any:
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:
        return self.one()[0] if self._rows else None

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement in the driver's own words."""

    text: str
    fixed: Mapping[str, Any]
    """Values that stand in the statement itself."""
    processes: tuple[tuple[str, Process | None], ...]
    """What the caller gives, and what makes the driver's value of it."""
    order: tuple[str, ...] | None
    """Of parameters, for a driver that takes them by place."""
    row: Callable[[Sequence[Any]], Any] | None

    def parameters(self, values: Mapping[str, Any]) -> Any:
        given = dict(self.fixed)
        for name, process in self.processes:
            value = values[name]
            given[name] = value if process is None else process(value)
        return given if self.order is None else tuple(given[name] for name in self.order)

    def rows(self, fetched: Sequence[Any]) -> list[Any]:
        return [] if self.row is None else [self.row(each) for each in fetched]


class PreparedStatements:
    """Of one dialect. A statement is prepared when it comes the second time, because one that is built anew never does.

    Thread-safe: two threads at worst prepare the same statement twice.
    """

    def __init__(self) -> None:
        self._seen: dict[int, weakref.ref[Any]] = {}
        self._locking: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
        self._made: dict[int, dict[tuple[str, ...], Prepared | None]] = {}

    def get(self, statement: Any, names: tuple[str, ...], dialect: Dialect) -> Prepared | None:
        """*names*: of the values that are given, which decide what an INSERT inserts. None: SQLAlchemy is to execute it."""
        place = id(statement)
        known = self._seen.get(place)
        if known is None or known() is not statement:
            self._seen[place] = weakref.ref(statement, lambda _: self._forget(place))
            return None
        made = self._made.setdefault(place, {})
        if names not in made:
            made[names] = _prepare(statement, names, dialect)
        return made[names]

    def locking(self, statement: Any, lock: Literal["exclusive", "shared"]) -> Any:
        """*statement* with a row lock, the same each time."""
        of_statement = self._locking.setdefault(statement, {})
        if lock not in of_statement:
            of_statement[lock] = statement.with_for_update(read=lock == "shared")
        return of_statement[lock]

    def _forget(self, place: int) -> None:
        self._seen.pop(place, None)
        self._made.pop(place, None)


def _prepare(statement: Any, names: tuple[str, ...], dialect: Dialect) -> Prepared | None:
    if isinstance(statement, TextClause):
        return None
    keys = None
    if isinstance(statement, Insert):
        keys = list(names)
        if any(column.default is not None for column in statement.table.c if column.key not in names):
            return None
    compiled = statement.compile(dialect=dialect, column_keys=keys)
    assert isinstance(compiled, SQLCompiler)
    if compiled.post_compile_params or compiled.literal_execute_params:
        # Lists, whose length decides about the text.
        return None
    bound = {name: parameter for parameter, name in compiled.bind_names.items()}
    stated = compiled.construct_params(_check=False)
    processes = {
        name: parameter.type.dialect_impl(dialect).bind_processor(dialect)
        for name, parameter in bound.items()
    }
    fixed = {}
    for name in bound.keys() - {*names}:
        if bound[name].required:
            # SQLAlchemy says which value is missing.
            return None
        process = processes[name]
        fixed[name] = stated[name] if process is None else process(stated[name])
    return Prepared(
        text=compiled.string,
        fixed=fixed,
        processes=tuple((name, process) for name, process in processes.items() if name in names),
        order=None if compiled.positiontup is None else tuple(compiled.positiontup),
        row=_row_of(statement, dialect),
    )


def _row_of(statement: Any, dialect: Dialect) -> Callable[[Sequence[Any]], Any] | None:
    if not statement.exported_columns:
        return None
    names, columns = zip(*statement.exported_columns.items(), strict=True)
    made = _row_type(tuple(str(name) for name in names))
    processes = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
    if not any(processes):
        return made

    def process(values: Sequence[Any]) -> Any:
        return made(
            value if process is None else process(value)
            for process, value in zip(processes, values, strict=True)
        )

    return process


def _row_type(names: tuple[str, ...]) -> Callable[[Any], Any]:
    fields = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024 - made at run time

    class Row(fields):
        __slots__ = ()

        @property
        def _mapping(self) -> dict[str, Any]:
            return dict(zip(names, self, strict=True))

    made: Callable[[Any], Any] = Row._make
    return made
