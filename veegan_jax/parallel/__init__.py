"""Devices, logical shards and processes."""
