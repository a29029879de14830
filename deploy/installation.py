"""Where a running Tallygate is, and the secret that opens it: from the settings, or from the folder of `tallygate up`."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

DATA_DEFAULT = ".tallygate"
FILE_NAME = "installation.json"
VARIABLES = {
    "redis_url": "REDIS_URL",
    "database_url": "DATABASE_URL",
    "gateway_url": "TALLYGATE_GATEWAY_URL",
    "control_url": "TALLYGATE_CONTROL_URL",
    "admin_key": "TALLYGATE_ADMIN_KEY",
}
"""Field → the environment variable that overrides the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What a command needs to know of a running Tallygate; empty text where it is not known."""

    redis_url: str = ""
    database_url: str = ""
    gateway_url: str = ""
    control_url: str = ""
    admin_key: str = ""

    def write(self, folder: Path) -> None:
        """Keep it in a folder, for its owner only."""
        path = folder / f"{FILE_NAME}.new"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(self), file, indent=2)
        path.rename(folder / FILE_NAME)

    @classmethod
    def read(cls, folder: Path) -> "Installation":
        """What `write` kept there; everything empty when there is nothing. Raises ValueError when it is damaged."""
        path = folder / FILE_NAME
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return cls()
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); `tallygate up` writes it") from error

    @classmethod
    def find(cls, environ: Mapping[str, str], folder: Path) -> "Installation":
        """What the settings say, and the folder where they say nothing."""
        kept = asdict(cls.read(folder))
        given = {name: environ.get(variable, "") for name, variable in VARIABLES.items()}
        return cls(**{name: value or kept[name] for name, value in given.items()})


def new_admin_key() -> str:
    """A secret of 256 random bits that says what it is."""
    return f"tg_admin_{secrets.token_urlsafe(32)}"
