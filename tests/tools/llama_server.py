"""Be llama.cpp's own HTTP server, as `llama-server` is, for the model that standard input names.

Run by the Python of an environment that has `xllamacpp`, which has no program but the server's
code. Standard input is one line of JSON: `model` (a path), `port`, `keys`, `context` (tokens).
It ends when its standard input does, so that no test leaves it behind.
"""

import json
import os
import sys

import xllamacpp


def main() -> None:
    """Serve until nobody holds the other end of standard input."""
    wanted = json.loads(sys.stdin.readline())
    params = xllamacpp.CommonParams()
    params.model.path = wanted["model"]
    params.port = wanted["port"]
    params.api_keys = wanted["keys"]
    params.n_ctx = wanted["context"]
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    sys.stdin.read()
    del server
    os._exit(0)


main()
