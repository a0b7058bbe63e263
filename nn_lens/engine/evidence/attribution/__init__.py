"""What in a picture speaks for a target: Captum's methods, and occlusion step by step."""
