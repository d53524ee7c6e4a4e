# SPDX-License-Identifier: BSD-3-Clause
"""card.py FILE.png SEED: is it the built-in guest's test card (vmm/guest/display.c) of that seed? Decodes PNG by itself."""
import struct
import sys
import zlib

data = open(sys.argv[1], "rb").read()
seed = int(sys.argv[2])
assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
at, packed, header = 8, b"", None
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at : at + 8])
    body = data[at + 8 : at + 8 + length]
    assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body), kind
    header = struct.unpack(">IIBBBBB", body) if kind == b"IHDR" else header
    packed += body if kind == b"IDAT" else b""
    at += 12 + length
assert header == (160, 120, 8, 2, 0, 0, 0), header
width, height, line = 160, 120, 160 * 3


def paeth(a, b, c):
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


raw = zlib.decompress(packed)
assert len(raw) == height * (line + 1), len(raw)
above, rows = bytearray(line), []
for y in range(height):
    how, row = raw[y * (line + 1)], bytearray(raw[y * (line + 1) + 1 : (y + 1) * (line + 1)])
    for i in range(line):
        a, b, c = (row[i - 3] if i > 2 else 0), above[i], (above[i - 3] if i > 2 else 0)
        row[i] = (row[i] + [0, a, b, (a + b) // 2, paeth(a, b, c)][how]) & 255
    rows.append(row)
    above = row

WORD = (1 << 64) - 1


def mix(x):
    for _ in range(2):
        x ^= x >> 32
        x = x * 0xD6E8FEB86659FD93 & WORD
    return x ^ x >> 32


def square(x, y):  # refdev/pattern.h: a lane of a thread's page
    key = mix((mix((mix((seed + 5) & WORD) + y) & WORD)) & WORD)
    lane = (key + x * 0x9E3779B97F4A7C15) & WORD
    return lane ^ lane >> 29


for y in range(height):
    for x in range(width):
        bar = x * 8 // width
        wanted = [255 * (bar >> n & 1) for n in (2, 1, 0)] if y < 60 else None
        wanted = wanted or list(struct.pack(">I", square(x // 8, y // 8) & 0xFFFFFF))[1:]
        assert list(rows[y][3 * x : 3 * x + 3]) == wanted, (x, y, list(rows[y][3 * x : 3 * x + 3]), wanted)
