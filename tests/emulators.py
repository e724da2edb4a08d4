"""Storage servers of this machine, which stand in for those of Amazon and Google."""

import functools
import itertools
import os
import socket

import fsspec
import pytest

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_numbers = itertools.count()


def bucket(scheme: str) -> str:
    """The URL of a new bucket, "s3" or "gs", for this process and those that it starts."""
    _serve(scheme)
    name = f"bucket-{next(_numbers)}"
    fsspec.filesystem(scheme).mkdir(name)
    return f"{scheme}://{name}"


@functools.cache  # as fsspec keeps the address
def _serve(scheme: str) -> None:
    """Starts a server, which ends with this process."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    if scheme == "s3":
        reason = "moto is not installed"
        server = pytest.importorskip("moto.server", reason=reason)
        server.ThreadedMotoServer(port=port, verbose=False).start()
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=f"http://localhost:{port}")
    else:
        reason = "gcp-storage-emulator is not installed"
        server = pytest.importorskip("gcp_storage_emulator.server", reason=reason)
        running = server.create_server("localhost", port, in_memory=True)
        running._api.daemon = True  # else this process would wait for its end
        running.start()
        os.environ["STORAGE_EMULATOR_HOST"] = f"http://localhost:{port}"
