"""`python -m bench`: ratios against dd and cp, every pair measured in turn in one run."""
