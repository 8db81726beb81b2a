"""The exceptions that declip-rt raises. A message says what was found, what was expected, and what to do next."""


class DeclipError(Exception):
    """Root of all errors raised on purpose by declip-rt."""


class ImageError(DeclipError):
    """One image cannot be read or decoded."""


class BundleError(DeclipError):
    """A model bundle is missing, incomplete or altered."""


class EngineError(DeclipError):
    """An inference engine or its device is missing, or failed."""


class Unavailable(EngineError):
    """What an engine needs is not installed, or is not made for the device that is here."""


class ConfigError(DeclipError):
    """The command, a configuration file or an argument is wrong."""
