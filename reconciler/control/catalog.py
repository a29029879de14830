"""The catalog: checked, published as a new version, and running subscriptions moved to it."""

from collections.abc import Sequence
from typing import Any, cast

import redis
from psycopg import Connection

from gateway.pricing.catalog import Catalog
from gateway.pricing.window import format_instant
from reconciler.catalog_file import CatalogFileInvalid, read_catalog
from reconciler.catalog_moves import (
    Existing,
    last_push,
    live_version,
    move_a_page,
    obstacles_to,
    publish,
    touched,
)
from reconciler.clock import milliseconds
from reconciler.control.call import Answer, Call, Operation, Parts, choice_of
from reconciler.control.errors import Fault, Invalid, Malformed, NotFound, UnsupportedMedia
from reconciler.publisher import push_catalog, push_pending
from reconciler.sql import queries

YAML = ("application/yaml", "application/x-yaml", "text/yaml", "application/vnd.yaml")
PAGES_AT_ONCE = 50
"""Pages of a move that the request itself makes; chores go on with the rest."""
ERRORS_MAX = 500
"""Errors of one catalog that are listed."""


def put_catalog(parts: Parts, call: Call) -> Answer:
    """Check a catalog and make it the live one."""
    asked = call.queries("existing", "dryRun")
    existing = cast(Existing, choice_of(asked, "existing", ("renewal", "now", "keep"), "renewal"))
    dry_run = choice_of(asked, "dryRun", ("true", "false"), "false") == "true"
    catalog = _read(call)
    with parts.postgres() as connection:
        now_ms = parts.clock.now_ms(connection)
        with connection.transaction():
            connection.execute(queries["control_catalog_lock"])
            obstacles = obstacles_to(connection, catalog, existing, at_ms=now_ms)
            if obstacles:
                faults = [
                    Fault(
                        pointer=f"/plans/{each.plan}" if each.plan else "/features",
                        code=each.code,
                        detail=each.message,
                    )
                    for each in obstacles
                ]
                raise Invalid(faults[0].detail, code=faults[0].code, errors=faults)
            touches = touched(connection, catalog, at_ms=now_ms)
            if dry_run:
                live = live_version(connection)
                said = {"valid": True, "sha256": catalog.sha256, "live": live, "touches": touches}
                return Answer(body=said)
            source = call.body.decode("utf-8")
            pushed = publish(connection, catalog, source, existing, at_ms=now_ms)
        for _ in range(PAGES_AT_ONCE):
            if not move_a_page(connection, at_ms=now_ms):
                break
        in_force = _push(parts, connection)
        push = last_push(connection)
    assert push is not None, "there was a push just now"
    return Answer(
        body={
            "version": pushed.version,
            "sha256": catalog.sha256,
            "created": pushed.created,
            "existing": existing,
            "moved": push.moved,
            "skipped": push.skipped,
            "done": push.done,
            "applied": in_force,
        },
        status=200 if in_force else 202,
    )


def get_catalog(parts: Parts, call: Call) -> Answer:
    """The live catalog, or a version of it."""
    call.queries()
    with parts.postgres() as connection:
        if "version" in call.path:
            text = call.part("version")
            version = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        else:
            version = live_version(connection) or 0
        row = connection.execute(queries["control_catalog"], {"version": version}).fetchone()
        live = live_version(connection)
        push = last_push(connection)
    if row is None:
        raise NotFound(
            "There is no such catalog." if version else "No catalog has been pushed yet."
        )
    _, sha256, doc, source, published_at = row
    shown = {
        "version": version,
        "sha256": sha256,
        "publishedAt": format_instant(milliseconds(published_at)),
        "live": version == live,
        "catalog": doc,
        "source": source,
    }
    if push is not None and push.version == version:
        move = {"existing": push.existing, "moved": push.moved, "done": push.done}
        shown["move"] = {**move, "skipped": push.skipped}
    return Answer(body=shown)


def _read(call: Call) -> Catalog:
    """The catalog in the body. Raises Invalid with every error and its line."""
    if call.content_type in YAML:
        name = "catalog.yaml"
    elif call.content_type in ("application/json", ""):
        name = "catalog.json"
    else:
        raise UnsupportedMedia(
            f"Send application/yaml or application/json, not {call.content_type}."
        )
    try:
        text = call.body.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("The catalog is not UTF-8.") from None
    if "\x00" in text:
        raise Malformed("The catalog holds a NUL character.")
    try:
        return read_catalog(text, name)
    except CatalogFileInvalid as error:
        plain = [problem.to_plain() for problem in error.problems]
    raise _invalid([Fault(**{**each, "suggestion": each["suggestion"] or ""}) for each in plain])


def _invalid(faults: Sequence[Fault]) -> Invalid:
    count = "1 error" if len(faults) == 1 else f"{len(faults)} errors"
    return Invalid(
        f"The catalog has {count}: {faults[0].detail}",
        code="not_supported_yet"
        if all(fault.code == "not_supported_yet" for fault in faults)
        else "catalog_invalid",
        errors=faults[:ERRORS_MAX],
    )


def _push(parts: Parts, connection: Connection[Any]) -> bool:
    try:
        push_catalog(connection, parts.redis)
        push_pending(connection, parts.redis, past_kept_ms=parts.settings.past_kept_ms)
    except (redis.ConnectionError, redis.TimeoutError):
        return False
    return True


OPERATIONS = (
    Operation(
        method="PUT",
        path="/v1/catalog",
        endpoint=put_catalog,
        summary="Publish a catalog (application/yaml or JSON); 422 lists every error with its line",
        scope="admin",
        query={
            "existing": "renewal (default), now or keep: when running subscriptions get it",
            "dryRun": "true: check only, and count the subscriptions each choice touches",
        },
        statuses=(200, 202),
    ),
    Operation(
        method="GET",
        path="/v1/catalog",
        endpoint=get_catalog,
        summary="The live catalog",
        scope="read",
    ),
    Operation(
        method="GET",
        path="/v1/catalog/{version}",
        endpoint=get_catalog,
        summary="A version of the catalog",
        scope="read",
    ),
)
