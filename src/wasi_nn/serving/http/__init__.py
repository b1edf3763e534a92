"""HTTP: connections, bodies and errors, for all protocols over it."""
