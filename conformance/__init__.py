"""A conformance suite for hosts of wasi-nn: small guests, and what each must observe."""
