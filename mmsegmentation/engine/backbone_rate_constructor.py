from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class BackboneRateConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor, and one factor for the learning rate of the backbone.

    ``paramwise_cfg`` has it as ``backbone_lr_mult``, beside MMEngine's keys. With
    ``custom_keys=dict(backbone=dict(lr_mult=...))`` the backbone would lose what these
    say of the weight decay of norms and biases.

    Args: as MMEngine's ``DefaultOptimWrapperConstructor``.

    Raises:
        ValueError: The factor is missing, or not above 0.
    """

    def __init__(
        self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None
    ) -> None:
        factor = (paramwise_cfg or {}).get('backbone_lr_mult')
        if not (isinstance(factor, int | float) and factor > 0):
            raise ValueError(
                f'paramwise_cfg needs backbone_lr_mult above 0, got {factor}'
            )
        self.factor: float = factor
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def add_params(
        self, params: list[dict], module: Any, prefix: str = '', **kwargs: Any
    ) -> None:
        """Make a group of each parameter; those of the backbone get their rate."""
        super().add_params(params, module, prefix, **kwargs)
        if prefix:
            return
        own = {id(weight) for weight in module.backbone.parameters()}
        for group in params:
            if id(group['params'][0]) in own:
                rate: Any = group.get('lr', self.base_lr)
                group['lr'] = rate * self.factor
