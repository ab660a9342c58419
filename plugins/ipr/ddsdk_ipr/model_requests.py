"""Request blocks: fetched, checked, handed to whom they are for, and ended with an IOASA and a response.

hw-ipr.md sections 3, 4 and 8.  What the firmware does with a malformed block is not confirmed; here it says 05240000
or 0B260000, and where it could not even say that, the access is a fault of the host's.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from ddsdk.abi import WIRE_BE
from ddsdk.errors import HardwareFault

from . import model_faulty
from .frames import (
    IOADL_FLAGS_SHIFT,
    IOADL_LEN_MASK,
    IOASA_BYTES_FIRST,
    MAX_SGLIST,
    FlagsHi,
    IoadlFlags,
    Ioarcb,
    Ioasa,
    RequestType,
)
from .ioasc import Ioasc
from .model_task import Request, Segment

if TYPE_CHECKING:
    from .model_core import IoaCore

_IOARCB = Ioarcb.on(WIRE_BE)
_BLOCK_BYTES = _IOARCB.size
_parse = _IOARCB.struct.unpack_from
_ADD_DATA_AT = _IOARCB.offsetof("add_data")
_IOASA = Ioasa.on(WIRE_BE)
#: ioasc, bytes returned, bytes available, residual: what is always written.
_short = Struct(">IHHI")
_descriptor = Struct(">II").unpack_from
_DESCRIPTOR_BYTES = 8
_WRITE = int(FlagsHi.WRITE_NOT_READ)
_LAST = int(IoadlFlags.LAST)
_READ_FLAGS, _WRITE_FLAGS = int(IoadlFlags.READ), int(IoadlFlags.WRITE)
_ZERO4, _ZERO12 = bytes(4), bytes(12)


class Requests:
    """The request blocks one adapter holds."""

    def __init__(self, ioa: IoaCore) -> None:
        self._ioa = ioa
        #: By bus address, until the response is posted.
        self.held: dict[int, Request] = {}
        self.last_handle: int | None = None
        self.swapped: Request | None = None
        self._read: Callable[[int, int], bytes]
        self._write: Callable[[int, bytes], None]

    def plugged(self) -> None:
        """DMA can be used from here on."""
        self._read, self._write = self._ioa.dma.read, self._ioa.dma.write

    def forget(self) -> None:
        """Nothing answers for any of them any more."""
        for request in self.held.values():
            request.dead = True
        self.held.clear()
        self.last_handle = None
        self.swapped = None

    # -- in --------------------------------------------------------------------------------------------

    def submitted(self, address: int) -> None:
        """IOARRIN <- *address*, in a state where that counts."""
        if address % 4:
            raise HardwareFault(f"IprIoa: IOARRIN <- {address:#010x}: a request block is aligned to 4 bytes")
        if address in self.held:
            raise HardwareFault(f"IprIoa: IOARRIN <- {address:#010x}: the adapter holds that request block already; a"
                                " block is used again when its response was there, or after a reset")
        self.held[address] = request = Request(address)
        ioa = self._ioa
        ioa.clock.at_ns(ioa.clock.now_ns + ioa.timing.fetch_ns, self._fetch, request)

    def _fetch(self, request: Request) -> None:
        if request.dead:
            return
        ioa = self._ioa
        if ioa.faults.armed and model_faulty.at_fetch(ioa, request):
            return
        if not ioa.can_dma():
            return
        block = self._read(request.address, _BLOCK_BYTES)
        (own, request.res_handle, request.response_handle, write_bytes, read_bytes, write_list, write_list_bytes,
         read_list, read_list_bytes, request.ioasa_address, request.ioasa_bytes, request.type, _luntar, flags_hi,
         request.flags_lo, request.cdb, _timeout, add_bytes, _) = _parse(block)
        request.flags_hi, request.length = flags_hi, write_bytes or read_bytes
        self._can_answer(request)
        if (own != request.address or add_bytes or (write_bytes and read_bytes) or request.response_handle & 3
                or bool(write_bytes) is not bool(flags_hi & _WRITE) or _dirty(block)):
            self._refuse(request, Ioasc.IR_INVALID_REQ)
            return
        if write_bytes:
            fine = self._data(request, block, write_bytes, write_list, write_list_bytes, _WRITE_FLAGS)
            request.to_device = True
        else:
            fine = self._data(request, block, read_bytes, read_list, read_list_bytes, _READ_FLAGS)
            request.to_device = False if read_bytes else None
        if not fine:
            self._refuse(request, Ioasc.DESCRIPTOR_INVALID)
        elif request.type == RequestType.SCSICDB and request.res_handle in ioa.scsi.by_handle:
            ioa.scsi.start(request)
        else:
            ioa.commands.start(request)

    def _refuse(self, request: Request, ioasc: int) -> None:
        ioa = self._ioa
        ioa.note("refused", f"{request.address:#010x} {ioasc:08x}")
        ioa.later(ioa.timing.refused_ns, self.end, request, ioasc, request.length)

    def _can_answer(self, request: Request) -> None:
        """A block without a status area cannot even be refused."""
        if request.ioasa_address % 4 or request.ioasa_bytes < IOASA_BYTES_FIRST:
            raise HardwareFault(f"IprIoa: the block at {request.address:#010x} has a status area of"
                                f" {request.ioasa_bytes} bytes at {request.ioasa_address:#010x}; it is aligned to 4"
                                f" bytes and {IOASA_BYTES_FIRST} bytes at least")

    def _data(self, request: Request, block: bytes, nbytes: int, at: int, list_bytes: int, wanted: int) -> bool:
        """Walk the descriptors: direction, *last*, and their sum as the block says."""
        if not nbytes:
            request.segments = []
            return not list_bytes
        if at % _DESCRIPTOR_BYTES or list_bytes % _DESCRIPTOR_BYTES or not list_bytes:
            return False
        if list_bytes > MAX_SGLIST * _DESCRIPTOR_BYTES:
            return False
        inside = at - request.address
        if inside == _ADD_DATA_AT and inside + list_bytes <= _BLOCK_BYTES:
            data = block[inside:inside + list_bytes]
        else:
            data = self._read(at, list_bytes)
        if list_bytes == _DESCRIPTOR_BYTES:
            word, address = _descriptor(data)
            request.segments = [(address, nbytes)]
            return bool(word == (wanted | _LAST) << IOADL_FLAGS_SHIFT | nbytes)
        segments: list[Segment] = []
        for offset in range(0, list_bytes, _DESCRIPTOR_BYTES):
            word, address = _descriptor(data, offset)
            length, flags = word & IOADL_LEN_MASK, word >> IOADL_FLAGS_SHIFT
            last = offset + _DESCRIPTOR_BYTES == list_bytes
            if flags != (wanted | _LAST if last else wanted) or not length:
                return False
            segments.append((address, length))
        request.segments = segments
        return sum([length for _, length in segments]) == nbytes

    # -- out -------------------------------------------------------------------------------------------

    def end_good(self, request: Request) -> None:
        """The request ends with IOASC 0 and nothing left over."""
        self._write(request.ioasa_address, _GOOD)
        self._respond(request)

    def end(self, request: Request, ioasc: int, residual: int = 0, *, specific: int = 0, u: bytes = bytes(12),
            sense: bytes = b"", failing: int = 0) -> None:
        """The request ends with *ioasc*; nothing happens when it has ended already."""
        if request.dead or not self._ioa.can_dma():
            return
        room = min(request.ioasa_bytes, _IOASA.size)
        if not ioasc:
            self._write(request.ioasa_address, _short.pack(0, _short.size, room, residual))
        else:
            status = Ioasa(ioasc=ioasc, ret_stat_len=room, avail_stat_len=_IOASA.size, residual_data_len=residual,
                           fd_ioasc=ioasc, fd_res_handle=failing, ioasc_specific=specific, u=u,
                           auto_sense_len=len(sense), auto_sense=sense.ljust(96, b"\0"))
            self._write(request.ioasa_address, _IOASA.pack(status)[:room])
        self._respond(request)

    def _respond(self, request: Request) -> None:
        request.dead = True
        self.scsi_forget(request)
        if self._ioa.faults.armed or self.swapped is not None:
            model_faulty.respond(self._ioa, request)
        else:
            self.post(request)

    def scsi_forget(self, request: Request) -> None:
        """The device is done with it."""
        if request.unit is not None:
            request.unit.tasks.pop(request, None)

    def post(self, request: Request) -> None:
        """The response goes to the queue; the block is the host's again."""
        self.held.pop(request.address, None)
        self.last_handle = request.response_handle
        self._ioa.hrrq.post(request.response_handle)


_GOOD = _short.pack(0, _short.size, _IOASA.size, 0)


def _dirty(block: bytes) -> bool:
    """A reserved byte is not zero."""
    return block[4:8] != _ZERO4 or block[16:28] != _ZERO12 or block[58:62] != _ZERO4
