"""What a network is asked: plain functions over torch and numpy, no threads, no notebook."""
