"""What the operator of a server learns of its requests: log, metrics, statistics, traces and telemetry."""
