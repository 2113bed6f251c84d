"""Telling the whole story: every chapter in order, the accounting, the check of the account, the summary."""

from collections.abc import Sequence

from tandem_ops.story.course import CHAPTERS, Chapter
from tandem_ops.story.endings import ENDINGS
from tandem_ops.story.stage import Stage


def tell_story(stage: Stage, endings: Sequence[Chapter] = ENDINGS) -> None:
    """Raises ExpectationFailed at the first thing that is not as it should be."""
    for chapter in (*CHAPTERS, *endings):
        stage.narrator.chapter((chapter.__doc__ or "").strip())
        chapter(stage)


def tell_summary(stage: Stage) -> None:
    say = stage.narrator.output.say
    say("\nWhat was shown, each checked through the partner's public API:", style="bold")
    for fact in stage.narrator.shown:
        say(f"  ✓ {fact}")
    say(f"\n{len(stage.narrator.shown)} facts in {stage.narrator.seconds:.0f} s.", style="bold")
