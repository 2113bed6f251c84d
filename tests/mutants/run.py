"""Breaks each promise on purpose, in a copy of the tree, and expects the named test to notice.

``python tests/mutants/run.py [--by schedules] [PROMISE ...]``.
A mutant is a patch with its promise and the test that must fail, in a ``*.toml`` beside it.
The report is a table; the exit code is 1 if a mutant survives, does not apply, or its test fails without it.

By schedules, each mutant meets up to fifty schedules of faults instead of its own test, and which of them notices is told.
What schedules cannot see by nature stands in unseen_by_schedules.txt with the reason, and is left out.
"""

import os
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCES = (
    "protos/gen",
    "shared/src",
    "services/referral/src",
    "services/prescriber/src",
    "services/therapy_provider/src",
    "deploy/ops/src",
)
PACKAGES = (
    "tandem_care",
    "tandem_clinic",
    "tandem_ops",
    "tandem_platform",
    "tandem_prescriber",
    "tandem_referral",
    "tandem_therapy_provider",
)
SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Mutant:
    """stack: where the test can see it; a row lock shows on PostgreSQL only. demo: whether the demo must fail, too."""

    patch: str
    promise: str
    test: str
    stack: str = "embedded"
    demo: bool = False


def mutants() -> list[Mutant]:
    found = []
    for manifest in sorted(HERE.glob("*.toml")):
        found += [Mutant(**each) for each in tomllib.loads(manifest.read_text())["mutant"]]
    return found


def applies(mutant: Mutant, tree: Path = ROOT) -> bool:
    check = ["git", "apply", "--check", str(HERE / mutant.patch)]
    return subprocess.run(check, cwd=tree, capture_output=True, check=False).returncode == 0


def copy_of_the_tree(target: Path) -> None:
    """Every file that git knows or would add, as it is in the work tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (target / "files").write_bytes(listed.stdout)
    subprocess.run(
        [
            "tar",
            "--null",
            "--ignore-failed-read",
            "-T",
            str(target / "files"),
            "-cf",
            str(target / "tree.tar"),
        ],
        cwd=ROOT,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    tree = target / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-xf", str(target / "tree.tar"), "-C", str(tree)], check=True)
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)


def imports_its_own(tree: Path) -> bool:
    """Whether a test on *tree* meets the code of *tree*, and not what is installed."""
    ask = f"import {', '.join(PACKAGES)}; print(*(each.__file__ for each in ({', '.join(PACKAGES)})), sep='\\n')"
    told = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=tree,
        env=_environment(tree),
        capture_output=True,
        text=True,
        check=True,
    )
    return all(Path(line).is_relative_to(tree) for line in told.stdout.split())


def _environment(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": ":".join(str(tree / source) for source in SOURCES)}


def passes(tree: Path, mutant: Mutant) -> bool:
    """Whether the mutant's test passes on *tree*, whose own modules it imports."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:randomly",
        f"--stack={mutant.stack}",
        mutant.test,
    ]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=_environment(tree),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutant.test} could not be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


def demo_passes(tree: Path) -> bool:
    command = [sys.executable, "-m", "tandem_ops", "demo"]
    done = subprocess.run(
        command, cwd=tree, env=_environment(tree), capture_output=True, timeout=SECONDS, check=False
    )
    return done.returncode == 0


def judge(tree: Path, mutant: Mutant, sound: dict[tuple[str, str], bool]) -> str:
    """What became of the mutant: "killed" is good."""
    if not applies(mutant, tree):
        return "does not apply"
    key = (mutant.test, mutant.stack)
    if key not in sound:
        sound[key] = passes(tree, mutant)
    if not sound[key]:
        return "its test fails without it"
    patch = str(HERE / mutant.patch)
    subprocess.run(["git", "apply", patch], cwd=tree, check=True)
    try:
        if passes(tree, mutant):
            return "SURVIVED"
        if mutant.demo:
            return "SURVIVED the demo" if demo_passes(tree) else "killed, by the demo too"
        return "killed"
    finally:
        subprocess.run(["git", "apply", "--reverse", patch], cwd=tree, check=True)


def unseen_by_schedules() -> dict[str, str]:
    """Patches that no schedule can notice, with the reason."""
    lines = (HERE / "unseen_by_schedules.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


def first_to_notice(tree: Path) -> str:
    """The first schedule that breaks a promise on *tree*, and which; empty if none of them does."""
    command = [sys.executable, "-m", "faults.schedules", "--fifty", "--until-broken"]
    environment = _environment(tree)
    environment["PYTHONPATH"] += f":{tree / 'tests'}"
    environment["PYTHONHASHSEED"] = "0"
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode == 0:
        return ""
    told = done.stdout.splitlines() or done.stderr.splitlines()[-1:]
    return told[0] if told else f"exit code {done.returncode}"


def judge_by_schedules(tree: Path, mutant: Mutant) -> tuple[bool, str]:
    """Whether fifty schedules notice the mutant, and what they say."""
    if not applies(mutant, tree):
        return False, "does not apply"
    patch = str(HERE / mutant.patch)
    subprocess.run(["git", "apply", patch], cwd=tree, check=True)
    try:
        noticed = first_to_notice(tree)
    finally:
        subprocess.run(["git", "apply", "--reverse", patch], cwd=tree, check=True)
    return bool(noticed), noticed or "SURVIVED"


def by_schedules(wanted: list[str]) -> int:
    unseen = unseen_by_schedules()
    chosen = [mutant for mutant in mutants() if not wanted or mutant.promise in wanted]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="tandem-mutants-") as folder:
        copy_of_the_tree(Path(folder))
        tree = Path(folder) / "tree"
        if broken := first_to_notice(tree):
            sys.stdout.write(f"a schedule breaks a promise without any mutant: {broken}\n")
            return 1
        for mutant in chosen:
            if mutant.patch in unseen:
                sys.stdout.write(f"left out   {mutant.patch:44} {unseen[mutant.patch]}\n")
                continue
            began = time.monotonic()
            noticed, told = judge_by_schedules(tree, mutant)
            survivors += not noticed
            fate = "noticed" if noticed else "NOT"
            sys.stdout.write(f"{fate:10} {mutant.patch:44} {time.monotonic() - began:4.0f} s  {told[:110]}\n")
            sys.stdout.flush()
    left_out = sum(mutant.patch in unseen for mutant in chosen)
    sys.stdout.write(
        f"{len(chosen) - left_out - survivors} noticed within fifty schedules, {survivors} not, {left_out} left out\n"
    )
    return 1 if survivors or not chosen else 0


def main(wanted: list[str]) -> int:
    if wanted[:2] == ["--by", "schedules"]:
        return by_schedules(wanted[2:])
    chosen = [mutant for mutant in mutants() if not wanted or mutant.promise in wanted]
    survivors = 0
    sound: dict[tuple[str, str], bool] = {}
    with tempfile.TemporaryDirectory(prefix="tandem-mutants-") as folder:
        copy_of_the_tree(Path(folder))
        if not imports_its_own(Path(folder) / "tree"):
            raise SystemExit("the copy's tests would import what is installed instead of the copy")
        if any(mutant.demo for mutant in chosen) and not demo_passes(Path(folder) / "tree"):
            raise SystemExit("the demo fails without any mutant")
        for mutant in chosen:
            began = time.monotonic()
            fate = judge(Path(folder) / "tree", mutant, sound)
            survivors += not fate.startswith("killed")
            sys.stdout.write(
                f"{fate:26} {mutant.promise:10} {mutant.patch:52} {time.monotonic() - began:5.0f} s\n"
            )
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - survivors} killed, {survivors} not\n")
    return 1 if survivors or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
