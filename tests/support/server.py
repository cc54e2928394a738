"""A server as a process of its own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2


class Server:
    """A running `lager serve`."""

    def __init__(self, judge: Path, *options: str, **environment: str):
        lager = Path(sys.executable).with_name("lager")
        command = [str(lager), "serve", str(judge), "--port", "0", "--device", "cpu", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
        assert self.process.stderr
        self.log: list[str] = []
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"at (http://\S+)", line):
                self.url = found[1]
                break
        else:
            raise AssertionError("the server did not start: " + "".join(self.log))

    def post(self, path: str, content: object, **options: Any) -> httpx2.Response:
        return httpx2.post(self.url + path, json=content, timeout=60, **options)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=60, **options)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr
        self.log += self.process.stderr.readlines()
        return self.process.wait(timeout=60)
