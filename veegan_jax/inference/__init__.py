"""A trained model: sampling, encoding, reconstruction, inversion."""
