"""Headless Chromium in real time, told what to do by its pipe: what streams does not wait for virtual time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --no-proxy-server --remote-debugging-pipe"
).split()


class Browser:
    """One page, for which only this machine exists."""

    def __init__(self, url: str, profile: Path) -> None:
        assert CHROMIUM is not None
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()
        os.set_inheritable(theirs_in, True)
        os.set_inheritable(theirs_out, True)
        words = [
            CHROMIUM,
            *FLAGS,
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={profile}",
        ]
        shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'  # where the protocol wants them
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *words, "about:blank"], pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._held, self._count, self._session, self.noises = b"", 0, None, []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for room in ("Runtime.enable", "Log.enable", "Page.enable"):
            self._ask(room)
        self._ask("Page.navigate", url=url)

    noises: list[dict[str, Any]]

    def until(self, script: str, seconds: float = 60) -> Any:
        """What the script gives, once that is something."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            found = self._ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"nothing came of {script}: {self.noises[-3:]}")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)
        os.close(self._in)
        os.close(self._out)

    def _ask(self, method: str, **given: Any) -> dict[str, Any]:
        self._count += 1
        told = {"id": self._count, "method": method, "params": given}
        os.write(self._out, json.dumps(told | ({"sessionId": self._session} if self._session else {})).encode() + b"\0")
        while True:
            while b"\0" not in self._held:
                part = os.read(self._in, 1 << 16)
                assert part, "the browser has ended"
                self._held += part
            line, _, self._held = self._held.partition(b"\0")
            message = json.loads(line)
            if message.get("id") == self._count:
                assert "result" in message, message
                return message["result"]
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
                self.noises.append(message)
