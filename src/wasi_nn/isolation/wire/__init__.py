"""What passes between the host and a worker."""
