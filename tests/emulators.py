"""Storage servers of this machine, which stand in for those of Amazon and Google."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
NAME = "bucket"


@contextmanager
def bucket(scheme: str) -> Iterator[str]:
    """The URL of an empty bucket, for this process and those that it starts."""
    with ExitStack() as stack:
        address, environment = (_amazon if scheme == "s3" else _google)(stack)
        stack.enter_context(mock.patch.dict(os.environ, {**KEYS, environment: address}))
        if scheme == "s3":
            _create(address)
        yield f"{scheme}://{NAME}"


def _amazon(stack: ExitStack) -> tuple[str, str]:
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    running = server.ThreadedMotoServer(port=_free_port(), verbose=False)
    running.start()
    stack.callback(running.stop)
    _, port = running.get_host_and_port()
    return f"http://localhost:{port}", "AWS_ENDPOINT_URL"


def _create(address: str) -> None:
    import boto3

    boto3.client("s3", endpoint_url=address).create_bucket(Bucket=NAME)


def _google(stack: ExitStack) -> tuple[str, str]:
    reason = "gcp-storage-emulator is not installed"
    server = pytest.importorskip("gcp_storage_emulator.server", reason=reason)
    port = _free_port()
    running = server.create_server("localhost", port, in_memory=True, default_bucket=NAME)
    running.start()
    stack.callback(running.stop)
    return f"http://localhost:{port}", "STORAGE_EMULATOR_HOST"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])
