"""Has the test runner of WebAssembly/wasi-testsuite run its tests with wasmpod.

    python3 test-runner/wasi_test_runner.py -r THIS/wasmpod.py -t tests/*/testsuite/wasm32-wasip?

It names no test, and every test gets the same options. Each is one `wasmpod run`; those that are
http servers are run by this file as a program, which tells the runner where they listen.

WASMPOD names the binary (default: `wasmpod`), with options of its own before its command, such as
`--data-dir`. Needs what the runner needs: Python 3.12, colorama and requests.
"""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

WASMPOD = shlex.split(os.getenv("WASMPOD", "wasmpod"))

# What a test may write lies in a copy, so that none finds what another left. They are removed when
# the runner ends.
COPIES = tempfile.TemporaryDirectory(prefix="wasmpod-conformance-")

# What every test runs with: the runner talks to programs over this machine's loopback.
NETWORK = ["--network", "host"]

# How `wasmpod run` ends that was asked to stop.
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def get_name():
    return "wasmpod"


def get_version():
    told = subprocess.run(WASMPOD + ["--version"], capture_output=True, check=True, text=True)
    return told.stdout.split()[1]


def get_wasi_versions():
    return ["wasm32-wasip1", "wasm32-wasip3"]


def get_wasi_worlds():
    return ["wasi:cli/command", "wasi:http/service"]


def get_timeout_seconds():
    # The first run of a program compiles it.
    return 30.0


def compute_argv(test_path, args_env_root, proposals, wasi_world, wasi_version):
    args, env, root = args_env_root
    options = []
    for name, value in env.items():
        options += ["--env", f"{name}={value}"]
    if root:
        copy = Path(tempfile.mkdtemp(dir=COPIES.name)) / "root"
        shutil.copytree(root, copy, symlinks=True)
        options += ["--dir", f"{copy}:/"]
    options += [test_path, "--", *args]
    if wasi_world == "wasi:http/service":
        return [sys.executable, __file__, "serve", *options]
    return [*WASMPOD, "run", "--raw", *NETWORK, *options]


def serve(options):
    """Runs a server, says where it listens once it does, and hands on a request to stop."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listen = [*NETWORK, "--publish", f"{port}:{port}"]
    run = [*WASMPOD, "run", "--output", "json", *listen, *options]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as server:
        is_asked = is_told = False

        def stop(*_):
            nonlocal is_asked
            is_asked = True
            server.terminate()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        for line in server.stdout:
            said = json.loads(line)
            if said["type"] == "log":
                print(said["text"], file=sys.stderr, flush=True)
            if said["type"] == "status" and is_ready(said["status"]) and not is_told:
                is_told = True
                print(f"Serving HTTP on http://127.0.0.1:{port}/", file=sys.stderr, flush=True)
    # The runner takes a server that stops when it is asked to for one that ends well.
    sys.exit(0 if is_asked and server.returncode in STOPPED else server.returncode)


def is_ready(status):
    conditions = status.get("conditions", [])
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


if __name__ == "__main__" and sys.argv[1:2] == ["serve"]:
    serve(sys.argv[2:])
