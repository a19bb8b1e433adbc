"""A slow network on one machine, to try trainings that would run between machines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType

from seqkit.checks import check_positive, check_positive_int
from seqkit.distributed.processes import run_processes

__all__ = ["SlowLink"]

_PORT = 29801


class SlowLink:
    """Network namespaces joined by a bridge, with a limit on what each may send.

    Each end is a namespace with one interface, "wire0", whose sending side passes a token bucket. What two processes of
    the same end exchange is not limited. Rates are of bits on the wire: with headers, TCP reaches 0.96 of them. The
    link adds no delay.

    Args:
        ends: Number of namespaces.
        rate: Megabits a second that each end may send; None for no limit.

    Raises:
        PermissionError: namespaces cannot be made here; the sentence says what is missing.

    Cost:
        The kernel's own forwarding, about 10 Gbit/s without a limit.

    Example:
        >>> import sys
        >>> with SlowLink(rate=100) as link:  # doctest: +SKIP
        ...     link.run([sys.executable, "train.py"])
        0
    """

    def __init__(self, *, ends: int = 2, rate: float | None = None) -> None:
        if check_positive_int("ends", ends) < 2 or ends > 100:
            raise ValueError(f"`ends` must be from 2 to 100, got {ends}")
        if rate is not None:
            check_positive("rate", rate)
        self.ends = ends
        self.rate = rate
        self.names = [f"seqkit-{os.getpid()}-{k}" for k in range(ends)]
        self._hub = f"seqkit-{os.getpid()}-hub"

    @staticmethod
    def missing() -> str | None:
        """What keeps this machine from making a slow link, in one sentence; None where nothing does.

        Example:
            >>> SlowLink.missing() is None or isinstance(SlowLink.missing(), str)
            True
        """
        for tool in ("ip", "tc"):
            if shutil.which(tool) is None:
                return f"there is no `{tool}`; install iproute2"
        name = f"seqkit-{os.getpid()}-probe"
        try:
            _call("ip", "netns", "add", name)
        except OSError as error:
            return (
                f"network namespaces cannot be made ({error}); run as root, or inside `unshare -Urnm` after "
                "`mount -t tmpfs none /run`"
            )
        try:
            _call("ip", "-n", name, "link", "add", "hub0", "type", "bridge")
            _call("tc", "-n", name, "qdisc", "replace", "dev", "lo", "root", *_bucket(100.0))
        except OSError as error:
            return f"this kernel lacks bridges or the token bucket filter ({error})"
        finally:
            _call("ip", "netns", "del", name)
        return None

    def __enter__(self) -> SlowLink:
        reason = self.missing()
        if reason is not None:
            raise PermissionError(f"a slow link needs rights that are missing here: {reason}")
        _sweep()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def set_rate(self, rate: float | None) -> None:
        """Changes what each end may send, in megabits a second; None for no limit."""
        self.rate = None if rate is None else check_positive("rate", rate)
        for name in self.names:
            if rate is not None:
                _call("tc", "-n", name, "qdisc", "replace", "dev", "wire0", "root", *_bucket(rate))
            else:
                _call("tc", "-n", name, "qdisc", "replace", "dev", "wire0", "root", "pfifo")

    def bytes_sent(self) -> list[int]:
        """Bytes that each end has sent, with headers, as the kernel counts them."""
        counts = []
        for name in self.names:
            told = _call("ip", "-n", name, "-s", "-j", "link", "show", "dev", "wire0")
            counts.append(int(json.loads(told)[0]["stats64"]["tx"]["bytes"]))
        return counts

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, limit: float | None = None
    ) -> int:
        """Runs a command as one rank in each end and waits for all; the ranks find each other by `join`.

        Args:
            command: Program and arguments.
            environment: Further variables for the ranks.
            limit: Seconds after which all are stopped.

        Returns:
            0, or the exit status of the rank that failed first; what it wrote is shown then.

        Raises:
            TimeoutError: `limit` was reached.
        """
        address = {
            "WORLD_SIZE": str(self.ends),
            "MASTER_ADDR": _address(0),
            "MASTER_PORT": str(_PORT),
            "GLOO_SOCKET_IFNAME": "wire0",
        }
        # Each is the only rank of its machine, so to say.
        alone = {**address, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        return run_processes(
            [["ip", "netns", "exec", name, *command] for name in self.names],
            [{**alone, "RANK": str(rank)} for rank in range(self.ends)],
            environment=environment,
            limit=limit,
        )

    def _make(self) -> None:
        _call("ip", "netns", "add", self._hub)
        _call("ip", "-n", self._hub, "link", "add", "hub0", "type", "bridge")
        _call("ip", "-n", self._hub, "link", "set", "hub0", "up")
        for k, name in enumerate(self.names):
            _call("ip", "netns", "add", name)
            _call(
                "ip",
                "link",
                "add",
                "name",
                "wire0",
                "netns",
                name,
                "type",
                "veth",
                "peer",
                "name",
                f"port{k}",
                "netns",
                self._hub,
            )
            _call("ip", "-n", self._hub, "link", "set", "dev", f"port{k}", "master", "hub0", "up")
            _call("ip", "-n", name, "addr", "add", f"{_address(k)}/24", "dev", "wire0")
            _call("ip", "-n", name, "link", "set", "dev", "wire0", "up")
            _call("ip", "-n", name, "link", "set", "lo", "up")
        self.set_rate(self.rate)

    def _remove(self) -> None:
        for name in (*self.names, self._hub):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _sweep() -> None:
    """Takes away namespaces of processes that were killed before they could."""
    for line in _call("ip", "netns", "list").splitlines():
        words = line.split()[0].split("-")
        if len(words) == 3 and words[0] == "seqkit" and words[1].isdigit() and not os.path.exists(f"/proc/{words[1]}"):
            subprocess.run(["ip", "netns", "del", line.split()[0]], capture_output=True, check=False)


def _address(end: int) -> str:
    return f"10.111.0.{end + 1}"


def _bucket(rate: float) -> list[str]:
    """A token bucket whose burst is large enough for its rate."""
    burst = "64kb" if rate < 200 else "128kb" if rate < 800 else "256kb" if rate < 5000 else "1mb"
    return ["tbf", "rate", f"{rate:g}mbit", "burst", burst, "latency", "50ms"]


def _call(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise OSError(f"`{' '.join(words)}` failed: {said[-1] if said else done.returncode}")
    return done.stdout
