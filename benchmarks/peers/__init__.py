"""What the product is timed beside: the step of the same config in other forms, one file each."""
