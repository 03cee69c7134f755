"""Start one of our runtimes and offer its server on a TCP port as well, for clients that need one.

    python tests/benchmarks/served.py RUNTIME MODEL ARGS [BATCH_SIZE]

Prints one line of JSON, `{"url": …, "name": …, "startup": seconds}`, and serves until standard
input closes. Every side of a benchmark goes through this port, so that none is favoured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from evaluators.runtimes import ModelSpec, open_runtime, parse_model_args


async def serve(spec: ModelSpec) -> None:
    """Serve until standard input closes."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with open_runtime(spec, socket_dir=Path(folder)):
            (socket,) = Path(folder).glob("*/s")  # noqa: ASYNC240 - one look into our own folder

            async def bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                inner_reader, inner_writer = await asyncio.open_unix_connection(str(socket))
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pour(reader, inner_writer))
                    group.create_task(_pour(inner_reader, writer))

            server = await asyncio.start_server(bridge, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            async with aiohttp.ClientSession() as session, session.get(f"{url}/models") as answer:
                name = (await answer.json())["data"][0]["id"]
            startup = time.perf_counter() - begun
            print(json.dumps({"url": url, "name": name, "startup": startup}), flush=True)
            await asyncio.to_thread(sys.stdin.read)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


if __name__ == "__main__":
    runtime, model, args, *size = sys.argv[1:]
    batch_size = int(size[0]) if size else 16
    asyncio.run(serve(ModelSpec(runtime, model, parse_model_args(args), batch_size=batch_size)))
