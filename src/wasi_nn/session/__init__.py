"""The session of one guest: its nn calls, its handles and tensors, and the policy for what it may load."""
