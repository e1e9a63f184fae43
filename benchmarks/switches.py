"""What bayesmf can do without; in a module of its own, which does not import PyTorch."""

from cf.core.config import Gibbs

SWITCHES = [name for name, field in Gibbs.model_fields.items() if field.annotation is bool]
OFF = dict.fromkeys(SWITCHES, False)
