"""The vectors of the hardware notes, as bytes."""

from __future__ import annotations


def _image(text: str) -> bytes:
    return bytes.fromhex("".join(line.partition(":")[2] for line in text.split("\n")))


#: The scatter list of the READ, 32- and 39-bit, then 64-bit.
V0 = _image("""
00: 00 0e 00 02 00 02 00 00 00 50 34 02 00 10 00 00
10: 00 70 34 02 00 2e 00 80""")
V5 = _image("""
00: 00 0e 00 02 00 00 00 00 00 02 00 00 00 00 00 00
10: 00 50 34 02 00 00 00 00 00 10 00 00 00 00 00 00
20: 00 70 34 02 00 00 00 00 00 2e 00 80 00 00 00 00""")
#: READ(10), tagged, disconnect allowed; with MK_MESSAGE; untagged without disconnect.
V1 = _image("""
00: 28 00 00 01 23 45 00 00 20 00 00 00 00 03 30 01
10: 03 00 60 37 00 00 0a 00 00 0e 00 02 00 00 00 00
20: 00 02 00 00 0a 0c 10 01 00 04 20 01 c0 00 00 01
30: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""")
V2 = V1[:0x12] + b"\x70" + V1[0x13:]
V3 = V1[:0x12] + b"\x00" + V1[0x13:]
#: One segment above 4 GiB: its element, and what of the SCB differs.
V4_LIST = bytes.fromhex("0070563400400092")
V4 = V1[:0x18] + bytes.fromhex("00705634120000000040009 20a0c1001000420 01c0000001".replace(" ", "")) + bytes(16)
#: Upload: 2C00h bytes missing; CHECK CONDITION; the same with a status IU, and that IU.
V6 = _image("""
00: 00 2c 00 80 18 0c 10 01 00 00 00 00 00 ff 30 01
10: 03 00 68 37 00 00 0a 00 00 0e 00 02 00 00 00 00
20: 00 02 00 00 0c 0c 10 01 00 04 20 01 c0 ff 00 ff""")
V7 = _image("""
00: 28 00 00 01 23 45 00 00 02 00 00 00 00 ff 30 01
10: 03 00 68 37 00 00 0a 00 00 0e 00 02 00 00 00 00
20: 00 02 00 00 0e 0c 10 01 00 04 20 01 c0 ff 00 ff""")
V8 = V7[:8] + b"\xff" + V7[9:]
V8_IU = _image("""
00: 00 00 02 02 00 00 00 12 00 00 00 00 70 00 06 00
10: 00 00 00 0a 00 00 00 00 29 02 00 00 00 00""")
#: REQUEST SENSE in its place.
V9 = _image("""
00: 03 00 00 00 20 00 00 00 02 00 00 00 00 03 30 01
10: 03 00 00 37 00 00 06 00 00 03 30 01 00 00 00 00
20: 20 00 00 80 0a 0c 10 01 c0 00 00 01 00 04 20 01""")
#: SYNCHRONIZE CACHE(10).
V10 = _image("""
00: 35 00 00 00 00 00 00 00 00 00 00 00 00 03 30 01
10: 03 00 60 37 00 00 0a 00 00 00 00 00 00 00 00 00
20: 00 00 00 00 01 00 00 00 00 04 20 01 c0 00 00 01""")
#: A second READ behind V1, with tag 2.
V11 = _image("""
00: 28 00 00 01 23 45 00 00 20 00 00 00 00 02 30 01
10: 02 00 60 37 00 00 0a 00 00 0e 00 02 00 00 00 00
20: 00 02 00 00 0a 08 10 01 c0 00 00 01 80 00 00 01""")
#: Message-out for everything Ultra320 has, with tag 3.
PPR_OUT = bytes.fromhex("c0 20 03 01 06 04 08 00 fe 01 ff")
#: Output queue after V1 and V11; V1 in the next pass.
QOUT = bytes.fromhex("03 80 02 80 00 00")
QOUT_NEXT_PASS = bytes.fromhex("03 00")
