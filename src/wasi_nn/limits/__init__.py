"""How much a guest may have, and how long it may take."""
