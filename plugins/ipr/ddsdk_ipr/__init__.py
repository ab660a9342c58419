"""diskdump port of the IBM Power Linux RAID adapter driver, and the hardware models it is tried on.

Importing this module imports neither the driver nor the models: they come when they are asked for.
"""

from __future__ import annotations
