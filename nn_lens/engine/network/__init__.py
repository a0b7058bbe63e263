"""The model: its layers, running it without a trace, reading its layers' outputs, what its neurons see."""
