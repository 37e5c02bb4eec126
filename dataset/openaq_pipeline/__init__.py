"""OpenAQ Pipeline: a complete, checked, always current copy of the air-quality data of the places you care about."""
