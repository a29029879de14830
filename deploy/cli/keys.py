"""`tallygate keys`: API keys. A secret is shown once; only its hash is kept."""

import hashlib
from typing import IO, Any

import click

from deploy.cli.api import Session, path_of, verb

BATCH = 1_000
"""How many keys one request imports."""


@click.group()
def keys() -> None:
    """Create, import, list and revoke API keys."""


@keys.command()
@click.option("--customer", help="A customer key: what this customer's end users hold.")
@click.option("--scope", "scopes", multiple=True, help="A service key's scope; repeatable.")
@click.option("--only", "customers", multiple=True, help="Bind a service key to a customer.")
@click.option("--feature", "features", multiple=True, help="Bind a service key to a feature.")
@click.option("--label", help="What it is for.")
@verb
def create(
    session: Session,
    customer: str | None,
    scopes: tuple[str, ...],
    customers: tuple[str, ...],
    features: tuple[str, ...],
    label: str | None,
) -> None:
    """Make a key and show its secret, once.

    Example: tallygate keys create --scope check --scope consume
    """
    given = {
        "customer": customer,
        "scopes": list(scopes),
        "customers": list(customers),
        "features": list(features),
        "label": label,
    }
    answer = session.control("POST", "/v1/keys", {key: it for key, it in given.items() if it})
    session.show(answer, answer["key"])
    session.note(f"key {answer['id']}: this is the only time its secret is shown")


@keys.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@verb
def import_(session: Session, file: IO[str]) -> None:
    """Make keys that were issued already known: FILE has a customer and a secret (or its SHA-256) per line.

    Example: tallygate keys import keys.txt
    """
    found = [_known(number, line) for number, line in enumerate(file, 1) if line.strip()]
    for start in range(0, len(found), BATCH):
        session.control("POST", "/v1/keys", {"keys": found[start : start + BATCH]})
        session.note(f"{min(start + BATCH, len(found))} of {len(found)}")
    session.show({"imported": len(found)}, f"imported {len(found)}")


@keys.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", help="The cursor that the page before ended with.")
@verb
def list_(session: Session, limit: int, after: str | None) -> None:
    """One page of keys; never their secrets."""
    page = session.control("GET", "/v1/keys", limit=limit, after=after)
    session.show_rows(page["data"], ["id", "kind", "customer", "scopes", "label", "revokedAt"])
    if page.get("next"):
        session.note(f"more: --after {page['next']}")


@keys.command()
@click.argument("key")
@verb
def revoke(session: Session, key: str) -> None:
    """End the key with this id, within a second."""
    session.show(session.control("DELETE", path_of("keys", key)), f"revoked {key}")


def _known(number: int, line: str) -> dict[str, Any]:
    words = line.split()
    if len(words) != 2:
        raise ValueError(
            f"line {number}: expected a customer and a secret, found {len(words)} words"
        )
    customer, secret = words
    is_hash = len(secret) == 64 and not set(secret) - set("0123456789abcdef")
    digest = secret if is_hash else hashlib.sha256(secret.encode()).hexdigest()
    return {"customer": customer, "sha256": digest}
