"""A local OpenAQ: answers like the official server, for the first run without a key, demos, tests and benchmarks."""
