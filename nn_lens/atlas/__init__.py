"""Every unit of a network, computed once on any executor, kept in a folder, and opened without the network."""
