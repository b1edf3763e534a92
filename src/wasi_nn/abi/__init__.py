"""The two ABIs: each translates a guest's bytes, numbers and handles into calls of a `Session`, and results back."""
