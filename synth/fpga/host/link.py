"""Requests and replies over a line that may lose, repeat or change bytes."""

import time
from collections import Counter

from hw.frames import (
    INFO_LENGTH,
    Command,
    Frame,
    FrameError,
    FrameReader,
    Status,
    info_request,
    status_text,
)

from .transport import Port, PortError

DEFAULT_TIMEOUT = 2.0
DEFAULT_ATTEMPTS = 10
# Of the waiting time, as attempts go on: a board that is slow is waited for in the end.
MAX_PATIENCE = 8
# Bytes beyond those of the reply after which a port is taken to send without end.
MAX_STRAY = 4096

# Replies that may come late, one after another.
MAX_LATE = 64

# What a damaged request is answered with; any other status says that the request itself is wrong.
RETRIED = (Status.CHECKSUM, Status.LENGTH, Status.TIMEOUT)


class LinkError(PortError):
    """A request that no attempt got through, or that the board refuses."""


class Link:
    """Sends a request until its reply has come, and counts what went wrong.

    Every request can be repeated without harm. What must not happen is that the late reply to one
    request is taken for the reply to another. So after any fault the link sends INFO and drops all
    replies up to INFO's: replies come in the order of the requests, and no other reply has INFO's
    length, so none of an earlier request can follow.

    Parameters
    ----------
    port : carries the bytes
    timeout : seconds of silence after which a reply is missing; up to 8 times that is waited
        when a request is repeated
    attempts : how often a request is sent before the link gives up

    Members
    -------
    faults : how often each kind of fault was seen: ``no reply``, ``damaged reply``, ``late reply``,
        ``unexpected reply``, ``stray bytes``, ``endless bytes``, and the board's own ``checksum``,
        ``length`` and ``timeout``
    identity : payload of the first reply to INFO
    received : bytes that came
    first_bytes : the first of them
    """

    def __init__(
        self,
        port: Port,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        attempts: int = DEFAULT_ATTEMPTS,
    ) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout is {timeout}: must be more than 0 seconds")
        if attempts < 1:
            raise ValueError(f"attempts is {attempts}: must be at least 1")
        self.port, self.timeout, self.attempts = port, timeout, attempts
        self.faults: Counter[str] = Counter()
        self.identity: bytes | None = None
        self.received = 0
        self.first_bytes = b""
        self._reader = FrameReader(max_payload=INFO_LENGTH)

    def exchange(self, request: bytes, length: int) -> bytes:
        """Send a request and return the payload of its reply.

        Parameters
        ----------
        request : the frame
        length : bytes of the payload that its reply has

        Raises
        ------
        LinkError
            If the board refuses the request, or no attempt got through.
        """
        for attempt in range(self.attempts):
            if attempt:
                self.synchronise()
            reply = self.ask(request, length, attempt)
            if reply is None:
                continue
            if reply.kind == Status.OK:
                if len(reply.payload) == length:
                    return reply.payload
                self.faults["unexpected reply"] += 1
            elif reply.kind in RETRIED:
                self.faults[Status(reply.kind).name.lower()] += 1
            else:
                raise LinkError(
                    f"port {self.port.name}: the board refuses {_named(request)}:"
                    f" {status_text(reply.kind)}"
                )
        raise LinkError(
            f"port {self.port.name}: {_named(request)} failed {self.attempts} times;"
            f" seen on the line: {self.report()}"
        )

    def ask(self, request: bytes, length: int, attempt: int = 0) -> Frame | None:
        """Send a request once and return its reply; None if none came."""
        self.port.write(request)
        for _ in range(MAX_LATE):
            reply = self._receive(length, attempt)
            if reply is None:
                break
            # A reply to INFO that is not asked for is left over from `synchronise`.
            informs = reply.kind == Status.OK and len(reply.payload) == INFO_LENGTH
            if length == INFO_LENGTH or not informs:
                return reply
            self.faults["late reply"] += 1
        self.faults["no reply"] += 1
        return None

    def synchronise(self, attempts: int | None = None) -> bytes:
        """Make sure that no reply is on its way, and return the payload of the reply to INFO.

        Parameters
        ----------
        attempts : how often INFO is sent; as any other request by default

        Raises
        ------
        LinkError
            If no attempt got through; the message says what was tried.
        """
        attempts = self.attempts if attempts is None else attempts
        for attempt in range(attempts):
            self.port.write(info_request())
            for _ in range(MAX_LATE):
                reply = self._receive(INFO_LENGTH, attempt)
                if reply is None:
                    break
                if reply.kind == Status.OK and len(reply.payload) == INFO_LENGTH:
                    return self._same(reply.payload)
                late = reply.kind not in RETRIED
                self.faults["late reply" if late else Status(reply.kind).name.lower()] += 1
            self.faults["no reply"] += 1
        waited = sum(self._patience(attempt) for attempt in range(attempts))
        came = f"{self.received} bytes came, {self.report()}" if self.received else "no byte came"
        began = f", the first {self.first_bytes.hex(' ')}" if self.received else ""
        raise LinkError(
            f"port {self.port.name} does not answer: INFO was sent {attempts} times in"
            f" {waited:.0f} s and {came}{began}; check that the board is programmed, that its baud"
            " rate is this one, that rx and tx are not swapped, and that no other program has the"
            " port (docs/bring-up.md, step 4)"
        )

    def report(self) -> str:
        """Faults in words."""
        return ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items())) or "none"

    def _same(self, identity: bytes) -> bytes:
        if self.identity is None:
            self.identity = identity
        if identity != self.identity:
            raise LinkError(
                f"port {self.port.name}: another board answers: INFO gives {identity.hex(' ')},"
                f" and gave {self.identity.hex(' ')}"
            )
        return identity

    def _patience(self, attempt: int) -> float:
        return self.timeout * min(MAX_PATIENCE, 2**attempt)

    def _receive(self, length: int, attempt: int) -> Frame | None:
        """Return the next good frame, or None after a silence."""
        skipped = self._reader.skipped
        try:
            return self._next_frame(length, attempt)
        finally:
            if self._reader.skipped != skipped:
                self.faults["stray bytes"] += 1

    def _next_frame(self, length: int, attempt: int) -> Frame | None:
        patience = self._patience(attempt)
        deadline = time.monotonic() + 2 * patience
        budget = length + MAX_STRAY
        reader = self._reader
        # Nothing longer was ever asked for, so its bytes need not be waited for.
        reader.max_payload = max(reader.max_payload, length)
        silent = False
        while True:
            try:
                frame = reader.read(final=silent)
            except FrameError:
                self.faults["damaged reply"] += 1
                continue
            if frame is not None or silent:
                return frame
            data = self.port.read(patience)
            if not self.received:
                self.first_bytes = data[:16]
            self.received += len(data)
            budget -= len(data)
            reader.feed(data)
            if budget < 0 or time.monotonic() > deadline:
                self.faults["endless bytes"] += 1
                silent = True
            silent = silent or not data


def _named(request: bytes) -> str:
    """Command of a request and its size, for messages."""
    kind = request[1]
    name = Command(kind).name if kind in set(Command) else f"command {kind}"
    return f"{name} of {len(request)} bytes"
