"""The demo: a small catalog, a few customers, and a few requests a second from them."""

import json
import os
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import urllib3

from deploy.cli.api import Refused, Session, path_of
from deploy.installation import Installation

CATALOG = Path(__file__).with_name("demo.yaml")
NEWCOMER = "newcomer"
"""The customer of the curl that `tallygate up` prints; the traffic leaves it alone."""

TRIES = 5
"""How many requests the newcomer has each hour."""

PAYING = "acme"
CUSTOMERS: dict[str, dict[str, Any]] = {
    NEWCOMER: {"name": "You", "plan": "free"},
    "initech": {"name": "Initech", "plan": "free"},
    PAYING: {"name": "Acme", "plan": "pro"},
    "globex": {"name": "Globex", "plan": "pro", "timeZone": "Asia/Kolkata"},
    "umbrella": {"name": "Umbrella", "plan": "team", "quantity": 3, "timeZone": "America/New_York"},
}
REQUESTS_PER_S = 4
WAIT_WHEN_AWAY_S = 1
FILE_NAME = "demo.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """The keys of the demo; kept in the data folder, because a key is shown only once."""

    customer_key: str
    service_key: str


def seed(session: Session, data: Path) -> Seeded | None:
    """The demo's keys, after making catalog and customers where there is no catalog yet; None in a real installation."""
    path = data / FILE_NAME
    if path.exists():
        return Seeded(**json.loads(path.read_text()))
    if _has_catalog(session):
        return None
    session.control("PUT", "/v1/catalog", CATALOG.read_bytes())
    for customer, facts in CUSTOMERS.items():
        about = {"name": facts["name"], "timeZone": facts.get("timeZone", "UTC")}
        session.control("PUT", path_of("customers", customer), about)
        plan = {"plan": facts["plan"], "quantity": facts.get("quantity", 1)}
        session.control("PUT", path_of("customers", customer, "subscription"), plan)
    scopes = ["check", "consume", "read"]
    seeded = Seeded(
        customer_key=session.control("POST", "/v1/keys", {"customer": NEWCOMER})["key"],
        service_key=session.control("POST", "/v1/keys", {"scopes": scopes})["key"],
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(seeded), file)
    return seeded


def _has_catalog(session: Session) -> bool:
    try:
        session.control("GET", "/v1/catalog")
    except Refused as error:
        if error.status == 404:
            return False
        raise
    return True


def traffic(gateway_url: str, key: str) -> None:
    """Requests at a walking pace, for ever; waits while the gateway is away."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    chance = random.Random()
    with urllib3.PoolManager(retries=False, timeout=5) as pool:
        while True:
            body = json.dumps(_request(chance))
            try:
                pool.request("POST", f"{gateway_url}/v1/consume", body=body, headers=headers)
                time.sleep(chance.expovariate(REQUESTS_PER_S))
            except urllib3.exceptions.HTTPError:
                time.sleep(WAIT_WHEN_AWAY_S)


def _request(chance: random.Random) -> dict[str, Any]:
    customer = chance.choices([PAYING, "globex", "umbrella", "initech"], [8, 5, 6, 1])[0]
    if customer != "initech" and chance.randrange(4) == 0:
        usage = {"input": chance.randint(20, 400), "output": chance.randint(5, 120)}
        variant = chance.choice(["small", "small", "large"])
        return {"customer": customer, "feature": "ai", "variant": variant, "usage": usage}
    return {"customer": customer, "feature": "api_calls", "metadata": {"route": "/search"}}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    keys = Seeded(**json.loads((folder / FILE_NAME).read_text()))
    traffic(Installation.read(folder).gateway_url, keys.service_key)
