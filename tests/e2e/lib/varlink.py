# SPDX-License-Identifier: GPL-2.0-or-later
"""A Varlink client that shares nothing with ours: JSON messages ended by a NUL, on a UNIX socket.

Interface reads an interface description and holds values against it.
"""
import json
import re
import select
import socket

from .proc import Deadline, Failed

MANAGER = "org.iovd.Manager."
SERVICE = "org.varlink.service."


class VarlinkError(Exception):
    """An error reply: its name and its parameters."""

    def __init__(self, name, parameters):
        super().__init__(f"{name} {parameters}")
        self.name, self.parameters = name, parameters


class Closed(Exception):
    """The peer ended the connection."""


def message(method, parameters=None, **flags):
    """A call as it goes over the wire."""
    call = {"method": method if "." in method else MANAGER + method, **flags}
    if parameters is not None:
        call["parameters"] = parameters
    return json.dumps(call).encode() + b"\0"


class Client:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self._poll = select.poll()  # not select(): a test may hold a thousand of these
        self._poll.register(self.sock, select.POLLIN)
        self._pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def fileno(self):
        return self.sock.fileno()

    def send(self, data):
        self.sock.sendall(data)

    def receive(self, seconds=20):
        """The next message, whatever it is."""
        deadline = Deadline(seconds, "a reply of the daemon")
        while b"\0" not in self._pending:
            if not self._poll.poll(deadline.left() * 1000):
                continue
            try:
                data = self.sock.recv(1 << 18)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Closed
            self._pending += data
        first, self._pending = self._pending.split(b"\0", 1)
        return json.loads(first)

    def reply(self, seconds=20):
        """The parameters of the next reply; an error is raised."""
        got = self.receive(seconds)
        if "error" in got:
            raise VarlinkError(got["error"], got.get("parameters", {}))
        return got.get("parameters", {})

    def call(self, method, parameters=None, seconds=20, **flags):
        self.send(message(method, parameters, **flags))
        return self.reply(seconds)


# --- interface descriptions -----------------------------------------------------------------------

TOKENS = re.compile(r"\s+|#[^\n]*|(->|\[\]|\[string\]|[A-Za-z][A-Za-z0-9_.-]*|[(),:?])")
PLAIN = {
    "bool": bool,
    "int": int,
    "float": (int, float),
    "string": str,
    "object": (dict, list, str),
}


class Interface:
    """What a .varlink file says: types, methods (input, output) and errors."""

    def __init__(self, text):
        self._tokens = self._cut(text)
        self.types, self.methods, self.errors = {}, {}, {}
        self._expect("interface")
        self.name = self._take()
        while self._tokens:
            self._member()

    @staticmethod
    def _cut(text):
        tokens, at = [], 0
        while at < len(text):
            found = TOKENS.match(text, at)
            if not found:
                raise Failed(f"the interface description is not Varlink: {text[at:at + 40]!r}")
            if found.group(1):
                tokens.append(found.group(1))
            at = found.end()
        return tokens

    def _take(self):
        if not self._tokens:
            raise Failed("the interface description ends too soon")
        return self._tokens.pop(0)

    def _expect(self, token):
        got = self._take()
        if got != token:
            raise Failed(f"the interface description has {got!r} for {token!r}")

    def _member(self):
        what, name = self._take(), self._take()
        if what == "type":
            self.types[name] = self._type()
        elif what == "error":
            self.errors[name] = self._type()
        elif what == "method":
            inputs = self._type()
            self._expect("->")
            self.methods[name] = (inputs, self._type())
        else:
            raise Failed(f"the interface description has a {what!r}")

    def _type(self):
        token = self._take()
        if token == "?":
            return ("maybe", self._type())
        if token in ("[]", "[string]"):
            return ("list" if token == "[]" else "map", self._type())
        if token == "(":
            return self._struct()
        return ("plain" if token in PLAIN else "named", token)

    def _struct(self):
        """The rest of a struct, or of an enum: names without types."""
        fields = {}
        if self._tokens[0] == ")":
            self._take()
            return ("struct", fields)
        while True:
            name = self._take()
            separator = self._take()
            if separator == ":":
                fields[name] = self._type()
                separator = self._take()
            else:
                fields[name] = None
            if separator == ")":
                is_enum = all(kind is None for kind in fields.values())
                return ("enum" if is_enum else "struct", fields)
            if separator != ",":
                raise Failed(f"the interface description has {separator!r} after {name!r}")

    def check(self, kind, value, where):
        """Raises unless the value is of this type: no member missing, none too many."""
        shape, inner = kind
        if shape == "maybe":
            if value is not None:
                self.check(inner, value, where)
        elif shape == "named":
            self.check(self.types[inner], value, where)
        elif shape == "plain":
            if not isinstance(value, PLAIN[inner]) or (inner == "int" and value is True):
                raise Failed(f"{where} is {value!r}, no {inner}")
        elif shape == "enum":
            if value not in inner:
                raise Failed(f"{where} is {value!r}, none of {', '.join(inner)}")
        elif shape == "list":
            if not isinstance(value, list):
                raise Failed(f"{where} is no list")
            for index, item in enumerate(value):
                self.check(inner, item, f"{where}[{index}]")
        else:
            self._check_members(shape, inner, value, where)

    def _check_members(self, shape, inner, value, where):
        if not isinstance(value, dict):
            raise Failed(f"{where} is no object")
        for name, item in value.items():
            if shape == "struct" and name not in inner:
                raise Failed(f"{where}.{name} is not described")
            self.check(inner[name] if shape == "struct" else inner, item, f"{where}.{name}")
        if shape == "struct":
            for name, kind in inner.items():
                if name not in value and kind[0] != "maybe":
                    raise Failed(f"{where}.{name} is missing")

    def check_reply(self, method, value):
        self.check(self.methods[method][1], value, method)
