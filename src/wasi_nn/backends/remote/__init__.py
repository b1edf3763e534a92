"""What the backends of models on other servers share: addresses, credentials, deadlines and failover."""
