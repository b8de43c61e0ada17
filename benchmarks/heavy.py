"""One connection that sends the same large request, again and again, until it is stopped.

    python -m benchmarks.heavy PORT PATH MEDIA_TYPE < body

Prints a line when the first answer is there: from then on the server is under this load.
"""

from __future__ import annotations

import http.client
import sys


def main() -> None:
    """Read the body from stdin, and send it for as long as this process lives."""
    port, path, media_type = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    body = sys.stdin.buffer.read()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while True:
        connection.request("POST", path, body, {"Content-Type": media_type})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"answered {answer.status}")
        print("answered", flush=True)


if __name__ == "__main__":
    main()
