"""The register files: one literal table of offsets and sizes for each chip, access kinds, reset values."""

from __future__ import annotations

import pytest

from ddsdk.regs import RegBlock
from ddsdk_sym53c8xx import regs
from ddsdk_sym53c8xx.regs import Regs810, Regs895a, Regs1010

OFFSETS_810 = {
    "SCNTL0": (0x00, 1), "SCNTL1": (0x01, 1), "SCNTL2": (0x02, 1), "SCNTL3": (0x03, 1), "SCID": (0x04, 1),
    "SXFER": (0x05, 1), "SDID": (0x06, 1), "GPREG": (0x07, 1), "SFBR": (0x08, 1), "SOCL": (0x09, 1),
    "SSID": (0x0A, 1), "SBCL": (0x0B, 1), "DSTAT": (0x0C, 1), "SSTAT0": (0x0D, 1), "SSTAT1": (0x0E, 1),
    "SSTAT2": (0x0F, 1), "DSA": (0x10, 4), "ISTAT0": (0x14, 1), "CTEST0": (0x18, 1), "CTEST1": (0x19, 1),
    "CTEST2": (0x1A, 1), "CTEST3": (0x1B, 1), "TEMP": (0x1C, 4), "DFIFO": (0x20, 1), "CTEST4": (0x21, 1),
    "CTEST5": (0x22, 1), "CTEST6": (0x23, 1), "DBC": (0x24, 3), "DCMD": (0x27, 1), "DNAD": (0x28, 4),
    "DSP": (0x2C, 4), "DSPS": (0x30, 4), "SCRATCHA": (0x34, 4), "DMODE": (0x38, 1), "DIEN": (0x39, 1),
    "SBR": (0x3A, 1), "DCNTL": (0x3B, 1), "ADDER": (0x3C, 4), "SIEN0": (0x40, 1), "SIEN1": (0x41, 1),
    "SIST0": (0x42, 1), "SIST1": (0x43, 1), "SLPAR": (0x44, 1), "MACNTL": (0x46, 1), "GPCNTL": (0x47, 1),
    "STIME0": (0x48, 1), "STIME1": (0x49, 1), "RESPID0": (0x4A, 1), "STEST0": (0x4C, 1), "STEST1": (0x4D, 1),
    "STEST2": (0x4E, 1), "STEST3": (0x4F, 1), "SIDL": (0x50, 1), "SODL": (0x54, 1), "SBDL": (0x58, 1),
    "SCRATCHB": (0x5C, 4),
}
OFFSETS_895A = {
    **OFFSETS_810,
    "ISTAT1": (0x15, 1), "MBOX0": (0x16, 1), "MBOX1": (0x17, 1), "SWIDE": (0x45, 1), "RESPID1": (0x4B, 1),
    "SIDL1": (0x51, 1), "STEST4": (0x52, 1), "SODL1": (0x55, 1), "CCNTL0": (0x56, 1), "CCNTL1": (0x57, 1),
    "SBDL1": (0x59, 1), **{f"SCRATCHC[{n}]": (0x60 + 4 * n, 4) for n in range(16)}, "MMRS": (0xA0, 4),
    "MMWS": (0xA4, 4), "SFS": (0xA8, 4), "DRS": (0xAC, 4), "SBMS": (0xB0, 4), "DBMS": (0xB4, 4), "DNAD64": (0xB8, 4),
    "PMJAD1": (0xC0, 4), "PMJAD2": (0xC4, 4), "RBC": (0xC8, 4), "UA": (0xCC, 4), "ESA": (0xD0, 4), "IA": (0xD4, 4),
    "SBC": (0xD8, 4), "CSBC": (0xDC, 4),
}
OFFSETS_1010 = {
    **OFFSETS_895A, "SCNTL4": (0xBC, 1), "AIPCNTL0": (0xBE, 1), "AIPCNTL1": (0xBF, 1), "CRCPAD": (0xE0, 2),
    "CRCCNTL0": (0xE2, 1), "CRCCNTL1": (0xE3, 1), "CRCDATA": (0xE4, 4), "DFBC": (0xF0, 2),
}


@pytest.mark.parametrize(("block", "offsets"), [
    (Regs810, OFFSETS_810), (Regs895a, OFFSETS_895A), (Regs1010, OFFSETS_1010)], ids=["810", "895a", "1010"])
def test_offsets(block: type[RegBlock], offsets: dict[str, tuple[int, int]]) -> None:
    """Where each register lies and how many bytes it has; none more, none fewer."""
    assert {one.name: (one.offset, one.size) for one in block.registers} == offsets


def test_masks() -> None:
    """Bits, as sym_defs.h numbers them."""
    assert {name: getattr(regs, name).of(**{field: 1}) for name, field in (
        ("Istat0", "ABRT"), ("Dstat", "SIR"), ("Sist0", "MA"), ("Sist1", "STO"), ("Scntl1", "CON"), ("Scntl2", "SDU"),
        ("Scid", "RRE"), ("Dcntl", "COM"), ("Dmode", "MAN"), ("Ctest3", "CLF"), ("Stest3", "CSF"), ("Ccntl0", "ENPMJ"),
        ("Ccntl1", "EN64TIBMV"), ("Sstat0", "OLF"), ("Istat1", "SRUN"), ("Ctest4", "MPEE"), ("Sist1", "SBMC"),
        ("Sien1", "SBMC"))} == {
        "Istat0": 0x80, "Dstat": 0x04, "Sist0": 0x80, "Sist1": 0x10, "Scntl1": 0x10, "Scntl2": 0x80, "Scid": 0x40,
        "Dcntl": 0x01, "Dmode": 0x01, "Ctest3": 0x04, "Stest3": 0x02, "Ccntl0": 0x80, "Ccntl1": 0x02, "Sstat0": 0x20,
        "Istat1": 0x02, "Ctest4": 0x08, "Sien1": 0x10}
