"""Where a cluster is: "local:N", "auto" or "ray://HOST:PORT"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...errors import OptionError
from ...settings import shown

__all__ = ["Address"]

PORT = 10001
"""Where Ray listens for clients, if it is not told otherwise."""


@dataclass(frozen=True)
class Address:
    """A parsed address.

    Attributes:
        n_local: the number of workers to start on this machine; None: it is a cluster
            that runs already.
        host: the machine to connect to; None: the cluster that this machine is part of.
        port: the port of that machine.
    """

    n_local: int | None = None
    host: str | None = None
    port: int = PORT

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse an address.

        Raises:
            OptionError: it is none.

        Example:
            >>> Address.parse("ray://10.0.0.7:10001")
            Address(n_local=None, host='10.0.0.7', port=10001)
        """
        if isinstance(text, str):
            if text == "auto":
                return cls()
            if found := re.fullmatch(r"local:0*([1-9]\d{0,4})", text):
                return cls(n_local=int(found[1]))
            host = r"\[([0-9a-fA-F:.]+)\]|([^\s:/\[\]]+)"
            if found := re.fullmatch(rf"ray://(?:{host})(?::(\d{{1,5}}))?/?", text):
                port = int(found[3] or PORT)
                if 0 < port < 1 << 16:
                    return cls(host=found[1] or found[2], port=port)
        raise OptionError(
            f"`cluster` is {shown(text)}; expected local:N (N workers on this "
            f"machine), auto (the Ray cluster that this machine is part of) or "
            f"ray://HOST:{PORT}"
        )

    def __str__(self) -> str:
        if self.n_local is not None:
            return f"local:{self.n_local}"
        if self.host is None:
            return "auto"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ray://{host}:{self.port}"
