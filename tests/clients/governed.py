"""Makes calls with the official Python SDK that MindWeave may refuse and prints, one JSON object a line, what came of each.

Usage: governed.py BASE_URL KEY CALL...
A CALL is a name, which goes into a session header, with `:stream` behind it for a stream.
"""

import json
import sys
import time

import anthropic

BASE_URL, KEY, *CALLS = sys.argv[1:]
client = anthropic.Anthropic(base_url=BASE_URL, api_key=KEY, max_retries=2)

for wanted in CALLS:
    call, _, how = wanted.partition(":")
    arguments = {
        "model": "claude-opus-5",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Say hello."}],
        "extra_headers": {"x-claude-code-session-id": call},
    }
    seen = {"call": call, "error": None}
    started = time.monotonic()
    try:
        if how == "stream":
            with client.messages.stream(**arguments) as stream:
                stream.get_final_message()
        else:
            client.messages.create(**arguments)
    except anthropic.APIStatusError as error:
        detail = error.body["error"]
        seen.update(
            error=type(error).__name__,
            status=error.status_code,
            type=detail["type"],
            message=detail["message"],
            reason=error.response.headers["mindweave-reason"],
        )
    print(json.dumps({**seen, "seconds": time.monotonic() - started}), flush=True)
