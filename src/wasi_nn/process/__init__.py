"""What this package does to the process that it is in: threads, forks, descriptors, files and subprocesses."""
