"""How far neurons reach into the input, by a pass that carries places in place of numbers."""
