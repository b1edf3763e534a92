"""Limits: how much a guest may have, and how long its calls may take."""
