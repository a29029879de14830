import json

import pytest

from gateway import errors
from gateway.errors import Fault, GatewayError, Invalid, Outage, problem, send_problem


def all_errors():
    found = [GatewayError]
    for error in found:
        found += error.__subclasses__()
    return [error for error in found if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_is_a_complete_problem(error):
    body = json.loads(problem(error(), "r.1"))
    assert body["type"] == f"urn:tallygate:{body['code']}"
    assert 400 <= body["status"] <= 599
    assert body["title"].endswith(".")
    assert body["detail"]
    assert body["requestId"] == "r.1"
    assert body["errors"] == []


def test_a_problem_names_each_fault_and_where_it_is():
    fault = Fault(pointer="/items/1/quantity", code="quantity_not_exact", detail='send "1.5"')
    body = json.loads(problem(Invalid("No.", code="quantity_not_exact", errors=[fault]), "r.1"))
    assert body["code"] == "quantity_not_exact"
    assert body["errors"] == [
        {"pointer": "/items/1/quantity", "code": "quantity_not_exact", "detail": 'send "1.5"'}
    ]


def test_an_outage_denies_in_both_styles_and_says_when_to_come_back():
    error = Outage()
    body = json.loads(problem(error, "r.1"))
    assert (body["allowed"], body["reason"], body["status"]) == (False, "outage", 503)
    assert (b"retry-after", b"1") in error.headers


async def test_a_sent_problem_carries_its_length_its_id_and_more_headers():
    sent = []

    async def send(message):
        sent.append(message)

    await send_problem(send, Outage(headers=[(b"x-a", b"1")]), "r.9", headers=[(b"x-b", b"2")])
    start, body = sent
    headers = dict(start["headers"])
    assert start["status"] == 503
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    assert headers[b"x-tallygate-request-id"] == b"r.9"
    assert headers[b"retry-after"] == b"1"
    assert (headers[b"x-a"], headers[b"x-b"]) == (b"1", b"2")
