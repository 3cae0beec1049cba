from typing import Any

from mmengine.model import is_model_wrapper


def unwrapped(model: Any) -> Any:
    """Return the model within the wrappers of several processes."""
    while is_model_wrapper(model):
        model = model.module
    return model
