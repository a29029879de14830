"""The catalog that is live: what requests in front of an API cost, and which names metrics may bear."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

import hiredis
import structlog

from gateway.connection import Connection
from gateway.errors import GatewayError, Unavailable
from gateway.metrics import Metrics
from gateway.pricing.catalog import Catalog
from gateway.pricing.money import format_quantity
from gateway.pricing.routes import Route, match_route
from lua import keys

RELOAD_SECONDS = 5
"""How old the live catalog may be when the push that told of a new one was lost."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCatalog:
    """One version of the catalog, as requests need it."""

    version: int
    sha256: str
    catalog: Catalog
    quantities: Mapping[str, int | str | None]
    """What a request over a route costs, by its `match`, in the number form of its feature."""

    def route(self, method: str, host: str, path: str) -> Route:
        """The first route that matches. Raises Unavailable when the catalog has none that does."""
        try:
            return match_route(self.catalog.routes, method, host, path)
        except LookupError:
            raise Unavailable(
                "The live catalog has no route for this request.", code="no_route"
            ) from None


class Catalogs:
    """Keeps the live catalog in memory and notices a new one."""

    def __init__(self, redis: Connection, metrics: Metrics) -> None:
        self._redis = redis
        self._metrics = metrics
        self._live: LiveCatalog | None = None
        self._changed = asyncio.Event()

    @property
    def live(self) -> LiveCatalog:
        """The live catalog. Raises Unavailable while there is none."""
        if self._live is None:
            raise Unavailable("No catalog is live yet.", code="no_catalog")
        return self._live

    def knows_feature(self, feature: str) -> bool:
        """Whether the live catalog, if there is one, has a feature of that id."""
        return self._live is not None and feature in self._live.catalog.features

    def changed(self) -> None:
        """Something may have changed: read it again soon."""
        self._changed.set()

    async def run(self) -> None:
        """Read the catalog again after every change and every few seconds, until cancelled."""
        while True:
            try:
                await self.reload()
            except (GatewayError, hiredis.ReplyError) as error:
                log.warning("catalog_unreadable", error=str(error))
            except (ValueError, KeyError, TypeError) as error:
                # The one we have stays: an unreadable catalog must not stop requests.
                log.error("catalog_broken", error=str(error))
            try:
                async with asyncio.timeout(RELOAD_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()

    async def reload(self) -> None:
        """Read the catalog if its version is not the one in memory."""
        version = await self._redis.execute("HGET", keys.CATALOG, "version")
        live = self._live
        if version is None or (live is not None and live.version == int(str_of(version))):
            return
        reply = await self._redis.execute("HMGET", keys.CATALOG, "version", "sha256", "doc")
        self._live = read_live(*(str_of(value) for value in reply))
        catalog = self._live.catalog
        self._metrics.know(catalog.features, catalog.plans)
        log.info("catalog_live", version=self._live.version, routes=len(catalog.routes))


def read_live(version: str, sha256: str, doc: str) -> LiveCatalog:
    """The live catalog from the fields of `keys.CATALOG`. Raises ValueError when it cannot be read."""
    catalog = Catalog.from_plain(json.loads(doc))
    return LiveCatalog(
        version=int(version),
        sha256=sha256,
        catalog=catalog,
        quantities={route.match: _quantity(catalog, route) for route in catalog.routes},
    )


def _quantity(catalog: Catalog, route: Route) -> int | str | None:
    if route.cost is None or route.feature is None:
        return None
    return format_quantity(route.cost, catalog.features[route.feature].scale)


def str_of(value: object) -> str:
    """The text of one Redis value."""
    return value.decode() if isinstance(value, bytes) else str(value)
