"""What the product is timed beside: the same training step, from the same config, in other forms. One file is one peer."""
