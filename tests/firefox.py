"""Firefox without a window, driven by its own protocol (WebDriver BiDi): Playwright cannot drive Debian's Firefox."""

import asyncio
import base64
import json
import re
import shutil
import subprocess
import tempfile
import time

import aiohttp

PROGRAM = shutil.which("firefox-esr") or shutil.which("firefox")
_PATIENCE = 60  # seconds


class Firefox:
    """One browser with one page. Use it as a context manager."""

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="firefox-")
        command = [PROGRAM, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", self.profile]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        address = next(found[1] for line in self.process.stderr if (found := re.search(r"listening on (ws://\S+)", line)))
        self.runner, self.number = asyncio.Runner(), 0
        self.runner.run(self._connect(address))
        self.call("session.new", capabilities={})
        self.page = self.call("browsingContext.getTree")["contexts"][0]["context"]
        return self

    async def _connect(self, address):
        self.session = aiohttp.ClientSession()
        self.socket = await self.session.ws_connect(f"{address}/session", max_msg_size=0)

    def call(self, method, **parameters):
        return self.runner.run(self._call(method, parameters))

    async def _call(self, method, parameters):
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while (told := await self.socket.receive_json(timeout=_PATIENCE)).get("id") != self.number:
            pass
        assert told["type"] == "success", told
        return told["result"]

    def open(self, address, width=1280, height=900):
        self.call("browsingContext.setViewport", context=self.page, viewport={"width": width, "height": height})
        self.call("browsingContext.navigate", context=self.page, url=address, wait="complete")

    def evaluate(self, expression):
        """The value of a JavaScript expression, by way of JSON."""
        told = self.call(
            "script.evaluate", expression=f"JSON.stringify({expression})", target={"context": self.page}, awaitPromise=True,
            userActivation=True,
        )  # fmt: skip
        assert told["type"] == "success", told.get("exceptionDetails")
        return json.loads(told["result"].get("value", "null"))

    def wait_for(self, expression):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + _PATIENCE
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"not true in {_PATIENCE} s: {expression}\n{self.evaluate('document.body.innerText')}"
            time.sleep(0.1)

    def click(self, selector):
        self.wait_for(f"document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click() ?? null")

    def choose(self, selector, *paths):
        """Choose files."""
        found = self.call("browsingContext.locateNodes", context=self.page, locator={"type": "css", "value": selector})
        self.call(
            "input.setFiles", context=self.page, element={"sharedId": found["nodes"][0]["sharedId"]}, files=[*map(str, paths)]
        )

    def picture(self):
        """A screenshot, as a PNG."""
        told = self.call("browsingContext.captureScreenshot", context=self.page, origin="document")
        return base64.b64decode(told["data"])

    def __exit__(self, *error):
        self.call("browser.close")
        self.runner.run(self.session.close())
        self.runner.close()
        self.process.stderr.close()
        self.process.wait(timeout=_PATIENCE)
        shutil.rmtree(self.profile, ignore_errors=True)
