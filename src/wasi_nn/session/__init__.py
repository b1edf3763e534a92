"""What one guest holds, behind handles, and what it may do."""
