"""What the contract has and this release cannot do yet: refused by name. Whoever builds one deletes its lines."""

from reconciler.control.call import Answer, Call, Operation, Parts
from reconciler.control.errors import NotSupportedYet

_LATER = (
    ("POST", "/v1/customers/{customer}/grants", "Grants"),
    ("GET", "/v1/customers/{customer}/grants", "Grants"),
    ("DELETE", "/v1/customers/{customer}/grants/{id}", "Grants"),
    ("POST", "/v1/customers/{customer}/adjustments", "Adjustments"),
    ("POST", "/v1/customers/{customer}/invoice-items", "Invoice items"),
    ("POST", "/v1/invoices/{id}/credit-notes", "Credit notes"),
    ("GET", "/v1/alerts", "Alerts"),
)


def _refusing(method: str, path: str, what: str) -> Operation:
    def refuse(parts: Parts, call: Call) -> Answer:
        raise NotSupportedYet(f"{what} are not supported yet by this release.")

    return Operation(
        method=method,  # type: ignore[arg-type]
        path=path,
        endpoint=refuse,
        summary=f"{what}: not supported yet (422)",
        scope="read" if method == "GET" else "admin",
        statuses=(),
    )


OPERATIONS = tuple(_refusing(method, path, what) for method, path, what in _LATER)
