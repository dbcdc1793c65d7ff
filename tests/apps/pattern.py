"""Bytes whose place can be told from their value; see tests/src/pattern.rs."""

BLOCK = 65521


def _block():
    state, block = 1, bytearray()
    for _ in range(BLOCK):
        state = (state * 1103515245 + 12345) & 0xFFFFFFFF
        block.append((state >> 16) & 0xFF)
    return bytes(block)


_BLOCKS = _block() * 2


def piece(offset, length):
    """At most one block of the bytes from offset on."""
    start = offset % BLOCK
    return _BLOCKS[start:start + min(length, BLOCK)]


def pieces(length):
    """All the bytes, block by block."""
    offset = 0
    while offset < length:
        block = piece(offset, length - offset)
        offset += len(block)
        yield block


class Checker:
    """Compares a stream with the pattern as it arrives."""

    def __init__(self):
        self.length = 0
        self.wrong_at = None

    def feed(self, data):
        while data:
            expected = piece(self.length, len(data))
            head, data = data[:len(expected)], data[len(expected):]
            if self.wrong_at is None and head != expected:
                self.wrong_at = self.length + next(
                    i for i, (got, want) in enumerate(zip(head, expected)) if got != want)
            self.length += len(head)
