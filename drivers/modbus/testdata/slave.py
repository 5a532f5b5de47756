"""A Modbus slave that is not ours, for the tests: python3-pymodbus of Debian 12, TCP or RTU.

usage: slave.py tcp PORT | slave.py rtu DEVICE

Unit 3 holds, at each address below, the bytes that the test expects; unit 4 holds other ones. All other units are silent.
"""
import asyncio
import struct
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext, ModbusSparseDataBlock
from pymodbus.server.async_io import StartAsyncSerialServer, StartAsyncTcpServer
from pymodbus.transaction import ModbusRtuFramer


def words(fmt, *values):
    raw = struct.pack(fmt, *values)
    return list(struct.unpack(">%dH" % (len(raw) // 2), raw))


def swapped(ws):
    return [((w & 255) << 8) | (w >> 8) for w in ws]


def sparse(cells):
    out = {}
    for address, ws in cells.items():
        for i, w in enumerate(ws):
            out[address + i] = w
    return ModbusSparseDataBlock(out)


HOLDING = {
    0: words(">h", -213),
    1: words(">I", 4000000000),
    3: words(">i", -2000000000)[::-1],  # CDAB
    5: swapped(words(">f", -12.5)),  # BADC
    7: words("<d", 3.141592653589793),  # DCBA
    11: words(">q", -9007199254740993),
    15: words(">Q", 18446744073709551615)[::-1],  # CDAB
    19: words(">8s", b"Zaehler\0"),
    23: [0x8001],
    100: [4242],
}
INPUT = {500: words(">125H", *range(1000, 1125))}

unit3 = ModbusSlaveContext(
    zero_mode=True,
    hr=sparse(HOLDING),
    ir=sparse(INPUT),
    co=ModbusSequentialDataBlock(0, [i % 3 == 0 for i in range(2000)]),
    di=ModbusSequentialDataBlock(0, [i % 2 == 1 for i in range(16)]),
)
unit4 = ModbusSlaveContext(zero_mode=True, hr=sparse({0: [4]}))
context = ModbusServerContext(slaves={3: unit3, 4: unit4}, single=False)


async def main():
    if sys.argv[1] == "tcp":
        await StartAsyncTcpServer(context, address=("127.0.0.1", int(sys.argv[2])), ignore_missing_slaves=True)
    else:
        await StartAsyncSerialServer(
            context, framer=ModbusRtuFramer, port=sys.argv[2], baudrate=115200, parity="N", ignore_missing_slaves=True
        )


asyncio.run(main())
