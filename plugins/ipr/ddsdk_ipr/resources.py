"""Entries of the configuration table as resources, at the mid-layer's addresses of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .adapter import Resource
from .tables import QUEUE_NACA_MODEL, SUBTYPE_MASK, VSET_BUS, ConfigTableEntry, Subtype, queueing_model

if TYPE_CHECKING:
    from .adapter import IprIoaCfg

#: The mid-layer's channel on which volume sets are shown: a scan goes up from 0, and their bus is FF.
IPR_VSET_CHANNEL: Final = 4


def ipr_add_resource(ioa_cfg: IprIoaCfg, entry: ConfigTableEntry) -> Resource:
    """Know the device of *entry* from here on."""
    address, inq = entry.res_addr, entry.std_inq_data
    channel = IPR_VSET_CHANNEL if address.bus == VSET_BUS else address.bus
    subtype = entry.rsvd_subtype & SUBTYPE_MASK
    naca = subtype == Subtype.GENERIC_SCSI and queueing_model(entry.flags) == QUEUE_NACA_MODEL
    res = Resource(f"{address.bus}:{address.target}:{address.lun}", entry.res_handle, subtype, naca, inq.vendor_id,
                   inq.product_id)
    ioa_cfg.resources[channel, address.target, address.lun] = res
    return res


def ipr_remove_resource(ioa_cfg: IprIoaCfg, res_handle: int) -> None:
    """The device is gone."""
    for key, res in list(ioa_cfg.resources.items()):
        if res.handle == res_handle:
            ioa_cfg.printk(f"device {res.name} was removed")
            del ioa_cfg.resources[key]


def ipr_find_resource(ioa_cfg: IprIoaCfg, res_handle: int) -> Resource | None:
    """The device of a handle."""
    return next((res for res in ioa_cfg.resources.values() if res.handle == res_handle), None)
