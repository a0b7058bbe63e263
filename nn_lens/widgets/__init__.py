"""The notebook's widgets: the Lens panel, and each of its views on its own."""
