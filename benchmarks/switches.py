"""What bayesmf can do without; in a module of its own, which does not import PyTorch."""

from typing import Any

from cf.core.config import Gibbs

OFF: dict[str, Any] = {
    **{name: False for name, field in Gibbs.model_fields.items() if field.annotation is bool},
    "time_scales": [],
}
"""Each switch, and its value where it is off."""
