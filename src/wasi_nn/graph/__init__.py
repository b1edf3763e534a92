"""Graphs, execution contexts and runners: what all backends share."""
