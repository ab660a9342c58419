"""Saboteurs of the IO family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

#: What several of them change: how the scatter list is written.
_ELEMENTS: Final = "    for number, (bus_addr, length) in enumerate(request.mapped):\n"
_ELEMENT: Final = "        pack(adapter.pool.view, request.list + number * ELEMENT_BYTES, bus_addr, length, 0)\n"
_HELD_BACK: Final = "    if not map_data(adapter, request, scmd):\n"


def _kmap(condition: str, address: str, nbytes: str, data: str) -> Edit:
    """When a command ends and *condition* holds, its driver writes *data* to memory itself."""
    return Edit("interrupt.py", """
    fill_result(adapter, request, scmd)
    adapter.free""", f"""
    fill_result(adapter, request, scmd)
    if {condition}:
        paddr, length = scmd.sg[-1]
        page = adapter.kernel.kmap_atomic({address}, {nbytes})
        page[:] = {data}
        adapter.kernel.kunmap_atomic(page)
    adapter.free""")


SABOTEURS: Final[tuple[Saboteur, ...]] = (
    # -- there and back ------------------------------------------------------------------------------------------------
    Saboteur("io-rest-of-a-long-segment", "IO-1", "Segments are cut into 64 KiB; what is left has the first address.", (
        Edit("driver.py", _ELEMENTS, """\
    elements = []
    for bus_addr, length in request.mapped:
        elements += [(bus_addr + at, 0x10000) for at in range(0, length - length % 0x10000, 0x10000)]
        if length % 0x10000:
            elements.append((bus_addr, length % 0x10000))
    scmd.host_scribble = len(elements)
    for number, (bus_addr, length) in enumerate(elements):
"""),
        Edit("driver.py", "        SEGMENTS=len(request.mapped),\n",
             "        SEGMENTS=scmd.host_scribble if scmd.request_bufflen else 0,\n"),
    ), case="66048"),
    Saboteur("io-last-sector-is-the-adapters", "IO-2", "The last sector is the adapter's own, and nobody says so.", (
        Edit("driver.py", _HELD_BACK, """\
    lba, sectors = int.from_bytes(scmd.cmnd[2:6]), int.from_bytes(scmd.cmnd[7:9])
    own = scmd.cmnd[0] in (0x28, 0x2A) and lba < scmd.device.nr_sectors <= lba + sectors
    if own or not map_data(adapter, request, scmd):
"""),
    )),
    Saboteur("io-sorts-segments", "IO-3", "The scatter list is sorted by address.", (
        Edit("driver.py", _ELEMENTS, _ELEMENTS.replace("request.mapped", "sorted(request.mapped)")),
    ), case="17"),
    Saboteur("io-fewer-segments-after-the-crash", "IO-4", "quiesce() lowers sg_tablesize, which was read before.", (
        Edit("dump.py", "    adapter.active = adapter.resetting = False\n    adapter.forget()\n    return 0\n", """\
    adapter.active = adapter.resetting = False
    adapter.forget()
    sdev.host.sg_tablesize = adapter.segments = 16
    return 0
"""),
    ), case="segments"),
    Saboteur("io-shorter-commands-after-the-crash", "IO-4", "quiesce() lowers max_sectors, which was read before.", (
        Edit("dump.py", "    adapter.active = adapter.resetting = False\n    adapter.forget()\n    return 0\n", """\
    adapter.active = adapter.resetting = False
    adapter.forget()
    sdev.host.max_sectors = 1024
    return 0
"""),
        Edit("driver.py", _HELD_BACK, """\
    too_long = scmd.request_bufflen > scmd.device.host.max_sectors * 512
    if too_long or not map_data(adapter, request, scmd):
"""),
    ), case="bytes"),

    # -- memory of every kind ------------------------------------------------------------------------------------------
    Saboteur("io-low-segments-first", "IO-5", "Segments below 4 GiB come first in the list, those above behind them.", (
        Edit("driver.py", _ELEMENTS,
             _ELEMENTS.replace("request.mapped", "sorted(request.mapped, key=lambda one: one[0] >> 32)")),
    ), case="mixed"),
    Saboteur("io-addresses-of-whole-kib", "IO-6", "Only the first segment's address may be other than whole KiB.", (
        Edit("driver.py", _ELEMENT, _ELEMENT.replace("bus_addr", "bus_addr & ~0x3FF if number else bus_addr")),
    )),
    Saboteur("io-512-bytes-a-sector", "IO-7", "The length of a read or write is its sectors times 512.", (
        Edit("driver.py", "        LENGTH=scmd.request_bufflen,\n", """\
        LENGTH=int.from_bytes(scmd.cmnd[7:9]) * 512 if scmd.cmnd[0] in (0x28, 0x2A) else scmd.request_bufflen,
"""),
    )),
    Saboteur("io-clears-the-rest-of-the-page", "IO-8", "What a read leaves of its last page is cleared.", (
        _kmap("scmd.sc_data_direction == 2 and not scmd.result and sum(scmd.sg[-1]) % 4096",
              "paddr + length", "4096 - (paddr + length) % 4096", "bytes(len(page))"),
    )),
    Saboteur("io-stamps-long-lists", "IO-10", "A debugging aid: long lists, written, end with a serial number.", (
        _kmap("scmd.sc_data_direction == 1 and len(scmd.sg) > 4",
              "paddr + length - 4", "4", "scmd.serial_number.to_bytes(4)"),
    )),
    Saboteur("io-high-half-of-the-end", "IO-17", "The upper half of a segment's address is that of its end.", (
        Edit("driver.py", _ELEMENT,
             _ELEMENT.replace("bus_addr", "bus_addr & 0xFFFFFFFF | (bus_addr + length) >> 32 << 32")),
    )),
    Saboteur("io-addresses-of-whole-dwords", "IO-18", "The low two bits of a segment's address are cut off.", (
        Edit("driver.py", _ELEMENT, _ELEMENT.replace("bus_addr", "bus_addr & ~3")),
    )),

    # -- what the adapter may touch ------------------------------------------------------------------------------------
    Saboteur("io-direction-of-the-first-use", "IO-12", "A request keeps the direction of its first use.", (
        Edit("driver.py", "    request.direction = scmd.sc_data_direction\n",
             "    request.direction = request.direction or scmd.sc_data_direction\n"),
    ), case="dump"),
    Saboteur("io-unmaps-in-quiesce", "IO-12", "quiesce() unmaps what the adapter can still reach.", (
        Edit("dump.py", "    adapter.active = adapter.resetting = False\n    adapter.forget()\n    return 0\n", """\
    adapter.active = adapter.resetting = False
    adapter.forget()
    adapter.reclaim()
    return 0
"""),
    ), case="slow-take-over"),

    # -- commands ------------------------------------------------------------------------------------------------------
    Saboteur("io-long-flush-counts-as-done", "IO-9", "SYNCHRONIZE CACHE counts as done after a second, done or not.", (
        Edit("adapter.py", '"scmd", "sense", "tag")', '"scmd", "sense", "sent", "tag")'),
        Edit("driver.py", "    request.scmd = scmd\n",
             "    request.scmd, request.sent = scmd, adapter.kernel.jiffies\n"),
        Edit("dump.py", """
            toy_finish(adapter)


def toy_shutdown(""", """
            toy_finish(adapter)
        for request in adapter.requests:
            scmd = request.scmd
            if scmd is not None and scmd.cmnd[0] == 0x35:
                if adapter.kernel.jiffies - request.sent > adapter.kernel.HZ:
                    request.scmd, scmd.result = None, 0
                    scmd.scsi_done(scmd)


def toy_shutdown("""),
    ), case="flush"),
    Saboteur("io-ends-the-oldest", "IO-11", "In the dump the oldest command has ended, whatever the tag.", (
        Edit("interrupt.py", """
    scmd, request.scmd = request.scmd, None
    adapter.unmap""", """
    if adapter.kernel.crashdump_mode():
        held = [one for one in adapter.requests if one.scmd is not None]
        request = min(held, key=lambda one: one.scmd.serial_number)
    scmd, request.scmd = request.scmd, None
    adapter.unmap"""),
    ), case="first-one-hangs"),
    Saboteur("io-resid-of-16-bits", "IO-13", "resid has 16 bits: where 64 KiB are missing, nothing is.", (
        Edit("interrupt.py", "    scmd.resid = max(0, scmd.request_bufflen - status.MOVED)\n",
             "    scmd.resid = scmd.request_bufflen - status.MOVED & 0xFFFF\n"),
    ), case="read-all"),
    Saboteur("io-underrun-is-an-error", "IO-14", "An underrun is an error, of INQUIRY alone it is none.", (
        Edit("interrupt.py", """
        scmd.result |= status.SCSI_STATUS
""", """
        if scmd.resid and not status.SCSI_STATUS and scmd.cmnd[0] != 0x12:
            scmd.result = DID_ERROR << 16
        scmd.result |= status.SCSI_STATUS
"""),
    )),
    Saboteur("io-commands-of-12-bytes", "IO-15", "Twelve bytes of a command block are copied.", (
        Edit("driver.py", "        CDB=bytes(scmd.cmnd),\n",
             "        CDB=bytes(scmd.cmnd[:12]).ljust(16, b\"\\0\"),\n"),
    )),
    Saboteur("io-sector-numbers-of-32-bits", "IO-15", "READ(16) and WRITE(16) are sent as READ(10) and WRITE(10).", (
        Edit("driver.py", "        CDB_LENGTH=scmd.cmd_len,\n        CDB=bytes(scmd.cmnd),\n", """\
        CDB_LENGTH=10 if scmd.cmnd[0] in (0x88, 0x8A) else scmd.cmd_len,
        CDB=bytes((scmd.cmnd[0] - 0x60, 0, *scmd.cmnd[6:10], 0, *scmd.cmnd[12:14], *bytes(7)))
        if scmd.cmnd[0] in (0x88, 0x8A) else bytes(scmd.cmnd),
"""),
    )),
    Saboteur("io-list-runs-over", "IO-16", "A list that does not fit is written over what is behind it.", (
        Edit("driver.py", """
    if len(request.mapped) > adapter.segments:
        adapter.printk(f"{len(request.mapped)} segments do not fit; sg_tablesize is {adapter.segments}")
        return False
""", "\n"),
    )),
)
