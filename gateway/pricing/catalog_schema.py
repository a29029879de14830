"""The catalog's grammar as JSON Schema, so that editors complete and check it while it is written."""

from typing import Any

from gateway.pricing.catalog_grammar import CATALOG

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def catalog_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a catalog file.

    It says what each name may hold; what depends on several values together only the catalog check knows.
    In a YAML file: `# yaml-language-server: $schema=catalog.schema.json`.
    """
    return {
        "$schema": DIALECT,
        "$id": "urn:tallygate:catalog",
        "title": "Tallygate catalog",
        "description": "Features, plans and prices.",
        **CATALOG.schema(),
    }
