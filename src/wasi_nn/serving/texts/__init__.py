"""Texts that language models write for clients, without a protocol: turns, threads, stops, metrics, and
conversations, which a model's own template turns into prompts."""
