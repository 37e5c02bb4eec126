"""The source: OpenAQ over HTTP, within the request budget of the key."""
