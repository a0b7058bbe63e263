"""What weights and one forward pass tell: filters, activation maps, the arithmetic of a neuron, what feeds a unit, building blocks."""
