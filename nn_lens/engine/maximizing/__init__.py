"""Pictures that drive units as far as they go."""
