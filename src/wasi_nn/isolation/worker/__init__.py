"""A worker from the inside."""
