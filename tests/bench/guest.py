"""A guest and its shell on the first console. Used by all parts."""

import os
import re
import select
import subprocess

BANNER = b"This is busybox"
PROMPT = b"guest# "
# The seconds after which a silent guest is regarded as hanging, by the clock that counts instructions.
PATIENCE = 60


class Guest:
    """A running guest. It ends at the end of the `with` block."""

    def __init__(self, command):
        self.seen = b""
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        self.read_until(PROMPT)
        self.run("stty -echo")
        return self

    def __exit__(self, *_):
        self.power_off()

    def power_off(self):
        self.send("poweroff -f")
        self.process.stdout.read()
        self.process.wait()

    @property
    def pid(self):
        return self.process.pid

    def read_until(self, text):
        """Waits for a text, and returns what came before it."""
        while text not in self.seen:
            output = self.process.stdout.fileno()
            if not select.select([output], [], [], PATIENCE)[0] or not (part := os.read(output, 4096)):
                raise RuntimeError(f"no {text!r} in {self.seen!r}")
            self.seen += part
        before, _, self.seen = self.seen.partition(text)
        return before

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def run(self, command):
        """Runs a command, which must succeed, and returns what it prints."""
        # This differs from the text in the command, which the terminal may echo.
        self.send(f"{command}; echo EN''DED $?.")
        said = self.read_until(b"ENDED ").decode()
        status = self.read_until(b".").decode()
        if status != "0":
            raise RuntimeError(f"{command}: status {status}: {said}")
        return re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", said)
