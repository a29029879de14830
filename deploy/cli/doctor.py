"""`tallygate doctor`: what is there, what is wrong with it, and how to mend it."""

import os
import platform
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import Any

import click

from deploy import __version__
from deploy.cli.api import DIFFERENT, OK, Refused, Session, Unreachable, verb

PACKAGES = ("redis", "hiredis", "psycopg", "starlette", "uvicorn", "msgspec", "click")
SECRETS = ("admin_key", "database_url", "redis_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    good: bool
    found: str
    mend: str = ""


@click.command()
@verb
def doctor(session: Session) -> int:
    """Look at the stores, both planes, the settings and the versions, and say how to mend what is wrong."""
    findings = [
        _redis(session.installation.redis_url),
        _postgres(session.installation.database_url),
        _plane(session, "gateway"),
        _plane(session, "control"),
    ]
    settings = _settings(session)
    versions = {"tallygate": __version__, "python": platform.python_version()}
    versions |= {name: version(name) for name in PACKAGES}
    if session.as_json:
        plain = [{name: getattr(each, name) for name in Finding.__slots__} for each in findings]
        session.show({"findings": plain, "settings": settings, "versions": versions})
    else:
        for each in findings:
            click.echo(f"{'ok  ' if each.good else 'BAD '} {each.name}: {each.found}")
            if each.mend and not each.good:
                click.echo(f"     mend: {each.mend}")
        session.show_rows(settings, ["process", "setting", "value", "origin"])
        click.echo(", ".join(f"{name} {number}" for name, number in versions.items()))
    return OK if all(each.good for each in findings) else DIFFERENT


def _redis(url: str) -> Finding:
    import redis

    if not url:
        return Finding(name="redis", good=False, found="not known", mend="set REDIS_URL")
    try:
        with redis.Redis.from_url(url, socket_timeout=5) as client:
            info: dict[str, Any] = client.info()
    except redis.RedisError as error:
        return Finding(name="redis", good=False, found=str(error), mend="start it")
    policy, kept = info.get("maxmemory_policy", "unknown"), bool(info.get("aof_enabled"))
    mend = "" if policy == "noeviction" else "set maxmemory-policy noeviction. "
    mend += "" if kept else "set appendonly yes."
    server = info.get("server_name", "redis")
    number = info.get("valkey_version") or info["redis_version"]
    told = f"{server} {number}, maxmemory-policy {policy}, AOF {'on' if kept else 'off'}"
    return Finding(name="redis", good=not mend, found=told, mend=mend)


def _postgres(url: str) -> Finding:
    import psycopg

    if not url:
        return Finding(name="postgres", good=False, found="not known", mend="set DATABASE_URL")
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            number = connection.info.server_version
    except psycopg.OperationalError as error:
        return Finding(name="postgres", good=False, found=str(error), mend="start it")
    return Finding(name="postgres", good=True, found=f"version {number // 10000}.{number % 10000}")


def _plane(session: Session, name: str) -> Finding:
    ask = session.gateway if name == "gateway" else session.control
    try:
        ask("GET", "/readyz")
    except Unreachable as error:
        return Finding(name=name, good=False, found=str(error), mend=f"start `tallygate {name}`")
    except Refused as error:
        return Finding(name=name, good=False, found=str(error), mend="see its own findings above")
    return Finding(name=name, good=True, found="ready")


def _settings(session: Session) -> list[dict[str, str]]:
    from gateway.settings import Settings as GatewaySettings
    from gateway.settings import SettingsInvalid as GatewayInvalid
    from reconciler.settings import Settings as ReconcilerSettings
    from reconciler.settings import SettingsInvalid as ReconcilerInvalid

    found = session.installation
    stores = {"REDIS_URL": found.redis_url, "DATABASE_URL": found.database_url}
    environ = {**{name: url for name, url in stores.items() if url}, **os.environ}
    rows: list[dict[str, str]] = []
    for process, settings in (("gateway", GatewaySettings), ("reconciler", ReconcilerSettings)):
        try:
            rows += _rows(process, settings.read(environ))
        except (GatewayInvalid, ReconcilerInvalid) as error:
            rows += [
                {"process": process, "setting": "", "value": each, "origin": "invalid"}
                for each in error.problems
            ]
    return rows


def _rows(process: str, settings: Any) -> list[dict[str, str]]:
    rows = []
    for each in fields(settings):
        if each.name == "origins":
            continue
        value = getattr(settings, each.name)
        shown = "(set)" if each.name in SECRETS and value else str(value)
        origin = settings.origins.get(each.name, "default")
        rows.append({"process": process, "setting": each.name, "value": shown, "origin": origin})
    return rows
