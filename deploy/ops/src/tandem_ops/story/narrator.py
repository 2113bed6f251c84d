"""Who tells the story: plain words, and a pace at which they can be read."""

import time
from dataclasses import dataclass, field

from tandem_ops.console import Output

_PACES = {"fast": 0.0, "slow": 2.5}


@dataclass
class Narrator:
    """*pace* is "fast" or "slow". What was shown is kept for the summary."""

    output: Output
    pace: str = "fast"
    shown: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    _chapter: int = 0

    def chapter(self, title: str) -> None:
        self._chapter += 1
        self.output.say(f"\n{self._chapter}. {title}", style="bold")
        self._rest()

    def tells(self, text: str) -> None:
        self.output.say(f"   {text}")
        self._rest(0.5)

    def sees(self, who: str, what: str) -> None:
        """What is on somebody's screen, as their own API gave it."""
        self.output.say(f"   [{who} sees] {what}", style="cyan")
        self._rest(0.5)

    def because(self, why: str) -> None:
        self.output.say(f"   why: {why}", style="dim")
        self._rest(0.5)

    def proves(self, fact: str) -> None:
        """A fact that was just checked; it comes again in the summary."""
        self.shown.append(fact)
        self.output.say(f"   ✓ {fact}", style="green")
        self._rest(0.5)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def _rest(self, share: float = 1.0) -> None:
        time.sleep(_PACES[self.pace] * share)
