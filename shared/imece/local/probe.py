"""Ask a broker who controls its cluster: one raw Metadata request, no client library, no loop."""

from __future__ import annotations

import socket
import struct

from imece.errors import ConfigError

# api key 3 (Metadata), version 1, correlation id 1, client id "imece", no topics
_REQUEST = struct.pack(">hhih5si", 3, 1, 1, 5, b"imece", 0)


def controller(address: str, timeout: float = 2.0) -> int | None:
    """Return the id of the controller at ``host:port``, or None while there is no answer yet.

    None also stands for a cluster that answers but has no controller or no live broker. Raises
    ConfigError for what is not an address.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ConfigError(f"{address!r} is no address of Kafka: write host:port (IMECE_KAFKA)")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(struct.pack(">i", len(_REQUEST)) + _REQUEST)
            (size,) = struct.unpack(">i", _read(connection, 4))
            return parse(_read(connection, size))
    except (OSError, EOFError, struct.error):
        return None


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def parse(body: bytes) -> int | None:
    """Read the controller id out of a Metadata v1 response, None when it names none."""
    _correlation, brokers = struct.unpack_from(">ii", body)
    at = 8
    for _ in range(brokers):
        at = _skip_string(body, at + 4)  # node id, host
        at = _skip_string(body, at + 4)  # port, rack
    (found,) = struct.unpack_from(">i", body, at)
    return int(found) if brokers > 0 and found >= 0 else None


def _skip_string(body: bytes, at: int) -> int:
    (length,) = struct.unpack_from(">h", body, at)
    return at + 2 + max(int(length), 0)
