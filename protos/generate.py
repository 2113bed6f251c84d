"""Makes protos/gen from the contracts: messages, gRPC stubs and their types."""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
GENERATED = HERE / "gen"
BASELINE = HERE / "baseline.binpb"
SCRIPTS = Path(sys.executable).parent

PACKAGE_DOC = '"""Generated from the contracts in protos/tandem; changed there, never here."""\n'


def contracts() -> list[str]:
    return sorted(str(path.relative_to(HERE)) for path in (HERE / "tandem").rglob("*.proto"))


def generate(target: Path) -> None:
    """Fill *target*, an existing empty folder. The same contracts give the same bytes."""
    arguments = [
        "protoc",
        f"--proto_path={HERE}",
        f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
        f"--plugin=protoc-gen-mypy={SCRIPTS / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={SCRIPTS / 'protoc-gen-mypy_grpc'}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out={target}",
        f"--mypy_grpc_out={target}",
        *contracts(),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc refused the contracts; its complaint stands above")
    drop_empty_stubs(target)
    for folder in sorted({path.parent for path in target.rglob("*_pb2.py")}):
        while folder != target:
            (folder / "__init__.py").write_text(PACKAGE_DOC)
            folder = folder.parent
    (target / "tandem" / "py.typed").touch()


def drop_empty_stubs(target: Path) -> None:
    """A contract without a service gets a gRPC module all the same, which holds nothing: leave it out."""
    for module in target.rglob("*_pb2_grpc.py"):
        if "class " not in module.read_text():
            module.unlink()
            module.with_suffix(".pyi").unlink(missing_ok=True)


def drift(left: Path, right: Path) -> list[str]:
    """Paths under *left* or *right* that are not the same in both."""

    def files(root: Path) -> set[str]:
        return {
            str(path.relative_to(root))
            for path in root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    names = files(left) | files(right)
    same, _, _ = filecmp.cmpfiles(left, right, names, shallow=False)
    return sorted(names - set(same))


def check() -> list[str]:
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        return drift(GENERATED, Path(scratch))


def buf(*arguments: str) -> bool:
    return subprocess.run([SCRIPTS / "buf", *arguments], cwd=HERE, check=False).returncode == 0


def lint() -> bool:
    """Every complaint is shown, not only the first kind."""
    found = [buf("lint"), buf("format", "--diff", "--exit-code")]
    if BASELINE.exists():
        found.append(buf("breaking", "--against", BASELINE.name))
    return all(found)


def replace_generated() -> None:
    with tempfile.TemporaryDirectory(dir=HERE) as scratch:
        fresh = Path(scratch) / "gen"
        fresh.mkdir()
        generate(fresh)
        shutil.rmtree(GENERATED, ignore_errors=True)
        fresh.rename(GENERATED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--check", action="store_true", help="change nothing; fail if protos/gen is out of date"
    )
    mode.add_argument("--lint", action="store_true", help="lint, format and breaking changes")
    chosen = parser.parse_args()
    if chosen.lint:
        if not lint():
            raise SystemExit(1)
        print(f"{len(contracts())} contracts: lint, format and compatibility in order")
    elif chosen.check:
        stale = check()
        if stale:
            raise SystemExit(
                "protos/gen is not what the contracts give; run make protos: " + ", ".join(stale)
            )
        print("protos/gen is what the contracts give")
    else:
        replace_generated()
        print(f"protos/gen made from {len(contracts())} contracts")


if __name__ == "__main__":
    main()
