"""What a section of `config.yaml` is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A section of the file: unknown keys are errors, and nothing changes after reading."""

    # A validator is built when it is first needed: each start of the program would wait for two dozen of them.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @classmethod
    def names(cls) -> list[str]:
        """Return the names allowed in this section, as they are written in the file."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, section: object) -> object:
        """Drop keys without a value: YAML reads a section whose every key is commented out as null."""
        if isinstance(section, dict):
            return {key: value for key, value in section.items() if value is not None or key not in cls.names()}
        return {} if section is None else section
