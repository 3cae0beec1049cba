"""Two real images for each pseudo-labelled one: is that better than all as they come?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        of three images one is pseudo-labelled, and an epoch is half as long again.
Run:    python tools/train.py \
            configs/pseudo/upernet_convnext-tiny_1xb4-cutmix-pseudo-mixed-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='MixedDataset',
            datasets=[_base_.train_set, _base_.pseudo_set],
            ratio=[2, 1],
        )
    )
)
