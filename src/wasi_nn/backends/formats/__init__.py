"""Readers of the formats that models of several encodings are stored in."""
