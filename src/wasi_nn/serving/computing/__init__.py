"""Computes of a server: one compute a request or one for a batch of requests, their turns, limits and threads."""
