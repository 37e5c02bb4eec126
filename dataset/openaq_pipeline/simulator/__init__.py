"""A local OpenAQ that answers like the official server: for first runs without a key, tests, benchmarks."""
