"""The configuration: its fields, its checks, and the parts that it names."""
