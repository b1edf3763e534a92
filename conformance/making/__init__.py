"""Makes the models and the guests of the cases, which are committed: `python -m conformance.making`."""
