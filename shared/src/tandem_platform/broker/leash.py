"""Child processes that cannot outlive the process that started them."""

import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# On the surface this might seem a detour, because Linux has PR_SET_PDEATHSIG.
# That signal is sent when the *thread* that forked ends, not the process, so a broker started from a pool
# thread would die with its thread; and it needs code between fork and exec, which is unsafe beside gRPC.
# Instead a watcher in the child's own process group blocks on a pipe whose other end only we hold.
# End of file without a word means that we are gone, and the group is killed.
# While the watcher lives its group id cannot be given to anybody else, so the kill never hits a stranger.
_LEASH = 'exec 3<&0 </dev/null; { read -r _ <&3 || kill -9 0; } & exec "$@" 3<&-'


class LeashedProcess:
    """A child in a process group of its own, so that Ctrl-C reaches us first and the child dies after us."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        user: str | None = None,
    ) -> None:
        """Start *command*; standard output and error are appended to *log*. *user* needs root."""
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _LEASH, "leash", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=directory,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
                start_new_session=True,
            )
        self.log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        return self._process.poll() is None

    def freeze(self) -> None:
        """Stop the child without closing its connections: what a hung machine looks like.

        Returns when every thread of it stands still.
        """
        if self.running():
            self._process.send_signal(signal.SIGSTOP)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def terminate(self, timeout: float) -> bool:
        """Ask the child to end. True when it did so within *timeout* seconds; it is killed otherwise."""
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        self.kill()
        return True

    def kill(self) -> None:
        """End the child and its watcher at once. Repeating it changes nothing."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


def last_lines(log: Path, count: int = 5) -> str:
    """The end of a child's log, for the message that says why it did not start."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-count:])
