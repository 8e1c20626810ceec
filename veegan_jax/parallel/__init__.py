"""How a step runs on several devices and in several processes, with logical shards or without."""
