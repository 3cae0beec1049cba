"""A backbone at a tenth of the rate: is what ImageNet taught worth keeping?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        one factor for all its stages in the place of .25 to .39 by depth.
Run:    python tools/train.py \
            configs/training/upernet_convnext-tiny_1xb4-cutmix-backbone0.1-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

optim_wrapper = dict(
    constructor='BackboneRateConstructor',
    # No decay of norms and biases, as the parent's constructor has it.
    paramwise_cfg=dict(
        _delete_=True,
        backbone_lr_mult=0.1,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
    ),
)
