"""Schedules that found something, kept for good: each seed with what it was."""

FOUND: dict[int, str] = {
    23: "a closing move, replayed to a restored hub, waited for rows that the hub takes only after the replay",
    29: "the hub's clock jumped, and the row that was read just then was parked as if it were at fault",
    37: "the hub started again with its clock set back: what it had permitted lay in the future, and stayed withheld",
    60: "a clinic's clock was set back, and its uplink stood still until the old time was reached again",
}
