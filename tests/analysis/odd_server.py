"""A local web server that misbehaves as told: what a download over a bad line must survive."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 1 << 14
SILENCE_S = 3.0


class OddServer:
    """Serves ``files`` (path -> bytes).

    Attributes:
        plan: One entry a request, taken in order: an HTTP status, ``("cut", n)`` for a connection
            that breaks after n bytes, ``("stall", n)`` for one that falls silent there, or None;
            after the last all is well.
        etags: Path -> ETag; a path without one is served without any.
        ranges, heeds_if_range, says_length: What the server can do.
        block_s: Seconds after each block of 16 KiB.
        sent: Bytes of content that left.
        requests: (path, Range header, status) of each request.
        busy: Requests that are being answered.
    """

    def __init__(self, address):
        self.address = address
        self.files, self.etags, self.plan = {}, {}, deque()
        self.ranges = self.heeds_if_range = self.says_length = True
        self.block_s, self.sent, self.requests, self.headers = 0.0, 0, [], {}
        self.busy = 0

    def serve(self, path, content, etag='"one"'):
        self.files["/" + path] = content
        self.etags["/" + path] = etag
        return f"{self.address}/{path}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def answer(self, status, content, headers, cut=None):
        server = self.server.odd
        server.requests.append((self.path, self.headers.get("Range"), status))
        self.send_response(status)
        for name, value in {**headers, **server.headers}.items():
            self.send_header(name, value)
        if server.says_length:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        content = content if cut is None else content[:cut]
        for first in range(0, len(content), BLOCK):
            self.wfile.write(content[first : first + BLOCK])
            server.sent += len(content[first : first + BLOCK])
            if server.block_s:
                time.sleep(server.block_s)
        if cut is not None and self.stalls:
            time.sleep(SILENCE_S)

    def do_GET(self):
        server = self.server.odd
        todo = server.plan.popleft() if server.plan else None
        self.close_connection = True
        server.busy += 1
        try:
            if isinstance(todo, int):
                return self.answer(todo, b"no", {})
            if self.path not in server.files:
                return self.answer(404, b"not here", {})
            content, etag = server.files[self.path], server.etags[self.path]
            headers = {"ETag": etag} if etag else {}
            cut = todo[1] if todo else None
            self.stalls = bool(todo) and todo[0] == "stall"
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = self.headers.get("If-Range") == etag or not server.heeds_if_range
            if not (asked and server.ranges and same):
                return self.answer(200, content, headers, cut)
            start = int(asked.group(1))
            if start >= len(content):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(206, content[start:], headers, cut)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            server.busy -= 1


@contextmanager
def odd_server():
    """Yield a function that returns a new :class:`OddServer` at one and the same address.

    What is still being answered counts for the one that was there when it was asked.
    """
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True

    def fresh():
        http.odd = OddServer(f"http://127.0.0.1:{http.server_port}")
        return http.odd

    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fresh
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
