"""The question of a proxy: may this request pass, and who pays for it?"""

import json
from collections.abc import Mapping, MutableMapping, Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import structlog

from gateway import request_id
from gateway.auth import PAY, Authenticator, Caller, secret_of
from gateway.authz.answer import Fields, denial_problem, retry_after, tally_headers
from gateway.authz.nginx import NGINX
from gateway.authz.plain import PLAIN
from gateway.authz.profile import Original, Profile
from gateway.catalogs import Catalogs
from gateway.codec import check_customer
from gateway.enforcer import Enforcer
from gateway.errors import (
    Forbidden,
    GatewayError,
    Invalid,
    Malformed,
    NotFound,
    NotSupportedYet,
    Send,
    Unauthenticated,
    Unexpected,
    problem_members,
)
from gateway.settings import Settings
from gateway.usage_request import UsageRequest

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (PLAIN, NGINX)}
PROFILES_LATER = frozenset({"envoy", "traefik", "caddy", "haproxy"})

ATTEMPT_MS = 10_000
"""How long a second attempt of a proxy at the same request is answered as the first was."""

FREE = "free"
"""The reason of a request whose route costs nothing."""

_PROXY_KEY = b"x-tallygate-key"

log = structlog.get_logger()


class Gate:
    """`/authz/{profile}/…`, any method, as plain ASGI."""

    def __init__(
        self,
        authenticator: Authenticator,
        catalogs: Catalogs,
        enforcer: Enforcer,
        settings: Settings,
    ) -> None:
        self._authenticator = authenticator
        self._catalogs = catalogs
        self._enforcer = enforcer
        self._customer_header = settings.authz_customer_header.encode()
        self._retry_after_max_s = settings.retry_after_max_s

    async def __call__(self, scope: MutableMapping[str, Any], receive: object, send: Send) -> None:
        """Answer one question; whatever happens, every header is there."""
        profile = PLAIN
        try:
            profile, rest = _profile_of(scope)
            await self._answer(scope, profile, rest, send)
        except GatewayError as error:
            await _refuse(send, profile, error, request_id.of(scope))
        except Exception:
            log.exception("unexpected", request_id=request_id.of(scope))
            await _refuse(send, profile, Unexpected(), request_id.of(scope))

    async def _answer(
        self, scope: MutableMapping[str, Any], profile: Profile, rest: str, send: Send
    ) -> None:
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        original = profile.read(scope["method"], rest, _once(headers, profile.headers))
        live = self._catalogs.live
        route = live.route(original.method, original.host, original.path)
        if route.free:
            # Nothing is to be paid, so a key need not be ours: a login may carry credentials of its own.
            customer = await self._known_payer(headers)
            fields = tally_headers(200, FREE, customer)
            return await _send(send, 200, fields, b"", request_id.of(scope))
        caller, customer = await self._payer(headers)
        if route.feature is None or route.hold is not None:
            raise NotSupportedYet(
                f"The route {route.match!r} asks for what this release cannot do."
            )
        caller.require(PAY if caller.kind == "customer" else "consume", customer, route.feature)
        decision = await self._enforcer.consume(
            UsageRequest(
                customer=customer,
                feature=route.feature,
                quantity=live.quantities[route.match],
                request_id=request_id.of(scope),
                route=route.match,
                replay=_replay(original, caller, customer),
                source=caller.id,
            )
        )
        fields = tally_headers(decision.http_status, decision.reason, customer, decision)
        if decision.allowed:
            return await _send(send, 200, fields, b"", request_id.of(scope))
        fields += retry_after(decision, self._retry_after_max_s)
        members = denial_problem(decision, request_id.of(scope))
        await _send_problem(send, profile, decision.http_status, fields, members)

    async def _known_payer(self, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """The customer who would pay; empty where the request does not say it in a way we accept."""
        try:
            return (await self._payer(headers))[1]
        except (Unauthenticated, Forbidden, Malformed, Invalid):
            return ""

    async def _payer(self, headers: Sequence[tuple[bytes, bytes]]) -> tuple[Caller, str]:
        """Who is asking and which customer pays. Raises GatewayError."""
        if self._customer_header:
            found = _without_aliases(headers, (_PROXY_KEY, self._customer_header))
            secret = found.get(_PROXY_KEY)
            customer = found.get(self._customer_header, b"").decode(errors="replace")
        else:
            secret, customer = secret_of(headers), ""
        if secret is None:
            raise Unauthenticated
        caller = self._authenticator.cached(secret) or await self._authenticator.find(secret)
        if not self._customer_header:
            caller.require(PAY)
            return caller, caller.customer or ""
        caller.require("consume")
        return caller, check_customer(customer, "")


def _profile_of(scope: MutableMapping[str, Any]) -> tuple[Profile, str]:
    """The profile a path names, and what follows it, still percent-encoded."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    _, _, name, *rest = raw.decode("latin-1").split("/", 3)
    profile = PROFILES.get(name)
    if profile is not None:
        return profile, f"/{rest[0]}" if rest else ""
    if name in PROFILES_LATER:
        raise NotSupportedYet(f"The profile {name} is not supported yet; plain and nginx are.")
    raise NotFound(f"There is no profile called {name!r}.")


def _once(headers: Sequence[tuple[bytes, bytes]], wanted: frozenset[bytes]) -> dict[bytes, bytes]:
    """The wanted headers. Raises Malformed when one comes twice: the proxy and we might read two."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in wanted:
            if name in found:
                raise Malformed(f"The header {name.decode()} came more than once.")
            found[name] = value
    return found


def _without_aliases(
    headers: Sequence[tuple[bytes, bytes]], trusted: tuple[bytes, ...]
) -> dict[bytes, bytes]:
    """The trusted headers. Raises Malformed for a second one, or one that some server takes for it."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        plain = name.replace(b"_", b"-").replace(b".", b"-")
        if plain in trusted:
            if name != plain or plain in found:
                raise Malformed(
                    f"The header {plain.decode()} came twice, or under another spelling."
                )
            found[plain] = value
    return found


def _replay(original: Original, caller: Caller, customer: str) -> tuple[bytes, int] | None:
    """What makes two questions one: the proxy's id, for one key, method and path."""
    if not original.attempt_id:
        return None
    parts = (caller.id, customer, original.method, original.path)
    told = b"\0".join((original.attempt_id, *(part.encode() for part in parts)))
    return blake2b(told, digest_size=16).digest(), ATTEMPT_MS


async def _refuse(send: Send, profile: Profile, error: GatewayError, request: str) -> None:
    fields = tally_headers(error.status, error.code)
    fields += error.headers
    await _send_problem(send, profile, error.status, fields, problem_members(error, request))


async def _send_problem(
    send: Send, profile: Profile, status: int, fields: Fields, members: dict[str, Any]
) -> None:
    # ASCII, because the same text may have to travel in a header.
    body = json.dumps({**members, "errors": []}, separators=(",", ":")).encode()
    fields.append((b"content-type", b"application/problem+json"))
    if profile.problem_in_header:
        fields.append((b"x-tallygate-problem", body))
    await _send(send, profile.status(status), fields, body, members["requestId"])


async def _send(send: Send, status: int, fields: Fields, body: bytes, request: str) -> None:
    fields.append((b"content-length", b"%d" % len(body)))
    fields.append((b"x-tallygate-request-id", request.encode()))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
