"""Many values in one parameter, so that a statement's text, and with it its plan, does not depend on how many there are."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Dialect, String, bindparam
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class _Texts(TypeDecorator[Iterable[str]]):
    """An array on PostgreSQL, JSON on SQLite."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(
            postgresql.ARRAY(String()) if dialect.name == "postgresql" else String()
        )

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> Any:
        texts = list(value or ())
        return texts if dialect.name == "postgresql" else json.dumps(texts)


class _Rows(TypeDecorator[Iterable[Sequence[str]]]):
    """JSON: a list of lists."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Iterable[Sequence[str]] | None, dialect: Dialect) -> str:
        return json.dumps([list(row) for row in value or ()])


class among(FunctionElement[bool]):  # noqa: N801 - reads as a word of a query
    """Whether *column* is one of the texts in parameter *name*."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: ColumnElement[str], name: str) -> None:
        super().__init__(column, bindparam(name, type_=_Texts()))


class among_rows(FunctionElement[bool]):  # noqa: N801
    """Whether *columns* together are one of the rows of texts in parameter *name*."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, columns: Sequence[ColumnElement[str]], name: str) -> None:
        super().__init__(*columns, bindparam(name, type_=_Rows()))


@compiles(among)
def _among_sqlite(element: among, compiler: SQLCompiler, **kw: Any) -> str:
    column, texts = (compiler.process(part, **kw) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({texts}))"  # noqa: S608 - compiled parts


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: SQLCompiler, **kw: Any) -> str:
    column, texts = (compiler.process(part, **kw) for part in element.clauses)
    return f"{column} = ANY({texts})"


@compiles(among_rows)
def _among_rows_sqlite(element: among_rows, compiler: SQLCompiler, **kw: Any) -> str:
    *columns, rows = (compiler.process(part, **kw) for part in element.clauses)
    parts = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(columns)))
    return f"({', '.join(columns)}) IN (SELECT {parts} FROM json_each({rows}))"  # noqa: S608 - compiled parts


@compiles(among_rows, "postgresql")
def _among_rows_postgresql(element: among_rows, compiler: SQLCompiler, **kw: Any) -> str:
    *columns, rows = (compiler.process(part, **kw) for part in element.clauses)
    parts = ", ".join(f"part ->> {place}" for place in range(len(columns)))
    elements = f"jsonb_array_elements(CAST({rows} AS jsonb))"
    return f"({', '.join(columns)}) IN (SELECT {parts} FROM {elements} AS part)"  # noqa: S608 - compiled parts
