"""Why to believe it: dataset examples, trust, attribution, ablation, embedding, directions."""
