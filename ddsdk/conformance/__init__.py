"""The conformance kit: does a driver survive the panic path?

`conformance_checks("NAME")` gives pytest everything there is to run:

    @pytest.mark.parametrize("check", conformance_checks("mydriver"))
    def test_conformance(check): check.run()
"""
