"""Live work on a network: one worker thread, jobs that newer ones replace, results kept on disk."""
