"""What the tester cannot know of the API by itself."""

import http.client
import itertools
import json
import os
from urllib.parse import urlsplit

import refusals
import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

numbers = itertools.count()


@schemathesis.auth(retry_on=[401])
class Session:
    """A session of the installation's owner. Among the requests are some that end it, after which there is another."""

    def get(self, case, context):
        # From another address of this machine: that of the tester soon has to wait, for all the wrong passwords that it sends.
        place = urlsplit(case.operation.base_url).netloc
        connection = http.client.HTTPConnection(place, timeout=20, source_address=("127.0.0.2", 0))
        login = {"email": os.environ["API_CONTRACT_EMAIL"], "password": os.environ["API_CONTRACT_PASSWORD"]}
        connection.request("POST", "/auth/login", json.dumps(login), {"Content-Type": "application/json"})
        return json.load(connection.getresponse())["access_token"]

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def filter_case(context, case):
    """Leaves out empty parameters of queries: they are the same as none, whatever the schema says of others."""
    return all(value != "" for value in (case.query or {}).values())


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives every request a key of its own: the tester sends one key with different requests, which is refused as it should be.
    And takes away cursors, which only the page before can give."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and 1 <= len(key) <= 255 and all("!" <= char <= "~" for char in key):
        case.headers["Idempotency-Key"] = f"contract-{next(numbers)}"
    for part in (case.query, case.body):
        if isinstance(part, dict):
            part.pop("cursor", None)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Takes a request that fits the description and was refused for a reason which that cannot say, for what it is."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    return not refusals.explains(case.operation.label, response.json())
