"""The endings on a network that somebody else runs: its databases and disks are reached by its own commands."""

import json
from collections.abc import Callable

from tandem_ops.network.elsewhere import NetworkElsewhere, run
from tandem_ops.story.endings import the_discloser_accounts
from tandem_ops.story.expectations import expect
from tandem_ops.story.people import SPOKEN
from tandem_ops.story.stage import Stage


def endings_on(network: NetworkElsewhere) -> tuple[Callable[[Stage], None], ...]:
    def the_account_is_checked(stage: Stage) -> None:
        """Nobody changed the hub's account: it is held against the roots that the clinics kept"""
        stage.narrator.tells("waiting for the hub's next signed root, which covers the end")
        answer = run(network.account)
        said = answer.stdout.decode()
        expect(
            "the hub's account is as it was written", answer.returncode == 0, said + answer.stderr.decode()
        )
        found = json.loads(said)
        stage.narrator.proves(
            f"the hub's account agrees with {found['roots']} roots that {found['clinics']} clinics kept"
        )

    def outsiders_know_no_words(stage: Stage) -> None:
        """The hub's database, the broker's disk and everybody's logs are searched for what was said"""
        for where, command in network.searched.items():
            answer = run(command)
            expect(
                f"{where} can be read", answer.returncode == 0 and bool(answer.stdout), answer.stderr.decode()
            )
            telling = [word for word in SPOKEN if _holds(answer.stdout, word)]
            expect(f"{where} holds no name and no word about a patient", not telling, telling)
            stage.narrator.proves(
                f"{where} ({len(answer.stdout) // 1024} KiB) holds no name and no word about a patient"
            )

    return the_discloser_accounts, the_account_is_checked, outsiders_know_no_words


def _holds(printed: bytes, word: str) -> bool:
    """PostgreSQL prints bytes in hexadecimal."""
    return word.encode() in printed or word.encode().hex().encode() in printed
