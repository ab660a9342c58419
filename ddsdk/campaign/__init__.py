"""The crash campaign: does a driver survive a crash at a moment, and with faults, that nobody thought of?

One seed is one machine, one load, one moment of the crash, some faults, one dump, one savecore; the same seed is the
same run.  The conformance kit asks what somebody thought of; a campaign draws.  For a driver's tests: what a driver has
to tell is a `CampaignProfile`, and the whole of a campaign then is

    CAMPAIGN = CampaignProfile("mydriver", chips=("mychip",), faults=FAULTS, masked=masked, leaks=leaks)

    @pytest.mark.parametrize("seed", range(20))
    def test_seed(seed, tmp_path):
        out = Campaign(CAMPAIGN, discover("mydriver"), tmp_path).run_seed(seed)
        assert out.wrong == [], out

What must hold, whatever was drawn (field.md 4.3):

(i)    nothing beside the partition changes but what the load wrote;
(ii)   a complete dump equals memory, page by page; anything else is a refusal with a reason;
(iii)  it ends, in bounded time, and no DriverFault;
(iv)   interrupts stay off, the chip masked, the watchdog fed, and no lock is left behind;
(v)    the same seed gives the same trace;
(vi)   with the faults gone the adapter works again, and nothing leaked.

`Outcome.wrong` says what did not; for (v) compare `Outcome.digest` of two runs.  `not_covered` says what a list of
seeds never draws.
"""

from __future__ import annotations

from .case import Case, Injection, not_covered, plain
from .profile import CampaignProfile, Variant
from .run import Campaign, Outcome

__all__ = ["Campaign", "CampaignProfile", "Case", "Injection", "Outcome", "Variant", "not_covered", "plain"]
