"""The two ABIs: bytes, numbers and handles on one side, a `Session` on the other. Nothing is decided here."""
