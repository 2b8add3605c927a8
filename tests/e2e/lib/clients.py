# SPDX-License-Identifier: GPL-2.0-or-later
"""The client that is neither QEMU nor Linux: libblkio, through tests/e2e/blkio_client.c."""
import json

from guest import blkio, cache

from .proc import Skipped, run


def blkio_client(sock, within=120, **options):
    """Runs the client on a socket; what it printed. A wrong byte or failed request is a failure."""
    try:
        command = blkio.client()
    except cache.Unavailable as error:
        raise Skipped(str(error)) from error
    return json.loads(
        run([*command, sock, *(f"{key}={value}" for key, value in options.items())], within).stdout
    )
