"""Ports that carry bytes to a board and back."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from golden.spec import SpecError

Result = TypeVar("Result")

# Of the board flow; a pseudo-terminal takes any.
DEFAULT_BAUD = 3_000_000
WRITE_SECONDS = 10.0


class PortError(SpecError):
    """A port that cannot be opened, is lost, or does not answer, with one message that says why."""


class Port(Protocol):
    """What the driver needs of a port.

    Members
    -------
    name : for messages
    """

    name: str

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, after at most ``timeout`` seconds; nothing if nothing has."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def close(self) -> None:
        """Give the port back."""


class SerialPort:
    """A serial port, or a pseudo-terminal.

    Parameters
    ----------
    path : the device, such as ``/dev/ttyUSB0``, ``COM3`` or ``/dev/pts/4``
    baud : bits a second on the line

    Raises
    ------
    PortError
        If it cannot be opened; the message names the ports that there are.
    """

    def __init__(self, path: str, baud: int = DEFAULT_BAUD) -> None:
        try:
            import serial
            from serial.tools.list_ports import comports
        except ImportError:
            raise PortError("pyserial is not installed: pip install 'pyserial>=3.5,<4'") from None
        self.name, self.baud = f"{path} at {baud} baud", baud
        try:
            self._serial = serial.Serial(
                path, baud, timeout=0, write_timeout=WRITE_SECONDS, exclusive=True
            )
            # What an earlier session left over.
            self._serial.reset_input_buffer()
        except (OSError, ValueError) as error:
            there = ", ".join(sorted(port.device for port in comports())) or "none"
            raise PortError(f"cannot open port {path}: {error}; serial ports: {there}") from None

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, after at most ``timeout`` seconds; nothing if nothing has."""

        def receive() -> bytes:
            # Every change of it sets up the port again.
            if self._serial.timeout != timeout:
                self._serial.timeout = timeout
            return self._serial.read(max(1, self._serial.in_waiting))

        return self._guarded(receive)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._guarded(lambda: self._serial.write(data))

    def close(self) -> None:
        """Give the port back."""
        self._serial.close()

    def _guarded(self, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except OSError as error:
            raise PortError(f"port {self.name} is lost: {error}") from None
