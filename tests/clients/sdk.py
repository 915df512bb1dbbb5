"""Drives the official Python SDK the way an app does and prints, one JSON object a line, what the SDK saw.

Usage: sdk.py BASE_URL KEY
The Rust test that starts this compares every line with the ledger. Each call names itself in a session header, which is
how its event is found. Works with both generations of the SDK.
"""

import asyncio
import io
import json
import sys

import anthropic

BASE_URL, KEY = sys.argv[1:3]
MODEL = "claude-opus-5"
HELLO = [{"role": "user", "content": "Say hello."}]
TOOLS = [{"name": "get_weather", "description": "Weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]

client = anthropic.Anthropic(base_url=BASE_URL, api_key=KEY, max_retries=2)


def headers(call, **steering):
    """Names the call, and tells the simulator how to answer it."""
    wanted = {"x-claude-code-session-id": call}
    if steering:
        wanted["x-simulate"] = "; ".join(f"{key}={value}" for key, value in steering.items())
    return wanted


def report(call, **seen):
    print(json.dumps({"call": call, **seen}), flush=True)


def figures(message):
    usage = message.usage.model_dump()
    return {
        "id": message.id,
        "model": message.model,
        "stop_reason": message.stop_reason,
        "usage": usage,
        "tools": [block.name for block in message.content if block.type in ("tool_use", "server_tool_use", "mcp_tool_use")],
    }


def plain():
    message = client.messages.create(model=MODEL, max_tokens=64, messages=HELLO, extra_headers=headers("plain"))
    report("plain", **figures(message), request_id=message._request_id)


def streaming():
    with client.messages.stream(model=MODEL, max_tokens=64, messages=HELLO, extra_headers=headers("streaming")) as stream:
        text = "".join(stream.text_stream)
        report("streaming", **figures(stream.get_final_message()), text_length=len(text))


def streaming_shapes():
    steering = {
        "thinking": {"shape": "thinking"},
        "cache": {"cache_read": 5000, "cache_write_5m": 300, "cache_write_1h": 70},
        "web_search": {"shape": "web_search"},
        "tools": {"shape": "tools"},
    }
    for name, wanted in steering.items():
        call = f"streaming-{name}"
        with client.messages.stream(
            model=MODEL, max_tokens=64, messages=HELLO, tools=TOOLS, extra_headers=headers(call, **wanted)
        ) as stream:
            report(call, **figures(stream.get_final_message()))


def tools():
    message = client.messages.create(
        model=MODEL, max_tokens=64, messages=HELLO, tools=TOOLS, extra_headers=headers("tools", shape="tools")
    )
    report("tools", **figures(message))


def encodings():
    for encoding in ("gzip", "deflate"):
        call = f"encoding-{encoding}"
        with client.messages.stream(
            model=MODEL, max_tokens=64, messages=HELLO, extra_headers=headers(call, encoding=encoding)
        ) as stream:
            report(call, **figures(stream.get_final_message()))


def count_tokens():
    counted = client.messages.count_tokens(model=MODEL, messages=HELLO, extra_headers=headers("count-tokens"))
    report("count-tokens", input_tokens=counted.input_tokens)


def models():
    report("models", models=[model.id for model in client.models.list(extra_headers=headers("models"))])


def batches():
    batch = client.messages.batches.create(
        requests=[
            {"custom_id": f"item-{n}", "params": {"model": MODEL, "max_tokens": 16, "messages": HELLO}} for n in range(3)
        ],
        extra_headers=headers("batch-create"),
    )
    report("batch-create", id=batch.id)
    batch = client.messages.batches.retrieve(batch.id, extra_headers=headers("batch-get"))
    report("batch-get", status=batch.processing_status, results_url=batch.results_url)
    for call in ("batch-results", "batch-results-again"):
        lines = list(client.messages.batches.results(batch.id, extra_headers=headers(call)))
        usages = [line.result.message.usage.model_dump() for line in lines if line.result.type == "succeeded"]
        report(call, usages=usages)


def files():
    content = bytes(range(256)) * 512  # 128 KiB: the simulator gives up to twice that back as it came
    files_of = client.files if hasattr(client, "files") else client.beta.files
    uploaded = files_of.upload(file=("data.bin", io.BytesIO(content), "application/octet-stream"), extra_headers=headers("file-upload"))
    report("file-upload", id=uploaded.id, size=uploaded.size_bytes)
    downloaded = files_of.download(uploaded.id, extra_headers=headers("file-download")).read()
    report("file-download", same=downloaded == content)


def errors():
    expected = {
        400: anthropic.BadRequestError,
        401: anthropic.AuthenticationError,
        403: anthropic.PermissionDeniedError,
        404: anthropic.NotFoundError,
        429: anthropic.RateLimitError,
        500: anthropic.InternalServerError,
        529: anthropic.InternalServerError,
    }
    once = client.with_options(max_retries=0)
    for status, error_type in expected.items():
        call = f"error-{status}"
        try:
            once.messages.create(model=MODEL, max_tokens=8, messages=HELLO, extra_headers=headers(call, status=status))
        except anthropic.APIStatusError as error:
            # The older generation has a class of its own for 529, which it does not export.
            right_type = isinstance(error, error_type) or type(error).__name__ == "OverloadedError"
            report(call, status=error.status_code, right_type=right_type, error_type=error.body["error"]["type"])


def stream_error():
    try:
        with client.messages.stream(
            model=MODEL, max_tokens=64, messages=HELLO, extra_headers=headers("stream-error", error_after_events=4)
        ) as stream:
            stream.get_final_message()
    except anthropic.APIError as error:
        report("stream-error", type=type(error).__name__)


def cut_stream():
    try:
        with client.messages.stream(
            model=MODEL, max_tokens=64, messages=HELLO, extra_headers=headers("stream-cut", cut_after_events=4, cut="close")
        ) as stream:
            stream.get_final_message()
    except Exception as error:  # the SDK lets the transport's own error through
        report("stream-cut", type=type(error).__name__)


def cancel():
    with client.messages.create(
        model=MODEL, max_tokens=64, messages=HELLO, stream=True,
        extra_headers=headers("cancelled", chunk_delay_ms=20, events=500),
    ) as stream:
        for event in stream:
            if event.type == "content_block_delta":
                break
    report("cancelled")


def retries():
    message = client.messages.create(
        model=MODEL, max_tokens=16, messages=HELLO, extra_headers=headers("retried", status=529, until_retry=1)
    )
    report("retried", **figures(message))


async def concurrent():
    async with anthropic.AsyncAnthropic(base_url=BASE_URL, api_key=KEY) as many:
        calls = [
            many.messages.create(model=MODEL, max_tokens=16, messages=HELLO, extra_headers=headers(f"concurrent-{n}"))
            for n in range(16)
        ]
        for n, message in enumerate(await asyncio.gather(*calls)):
            report(f"concurrent-{n}", **figures(message))


for scenario in (plain, streaming, streaming_shapes, tools, encodings, count_tokens, models, batches, files, errors, stream_error, cut_stream, cancel, retries):
    scenario()
asyncio.run(concurrent())
