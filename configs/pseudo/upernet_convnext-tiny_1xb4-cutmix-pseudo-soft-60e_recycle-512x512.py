"""Pseudo labels that count by their confidence: is doubt worth more than a threshold?

The labels are made with a low threshold:
    python utils/pseudo_label.py PRED --data-root ROOT --threshold 0.3 --soft

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        pseudo-labelled images are added.
Run:    python tools/train.py \
            configs/pseudo/upernet_convnext-tiny_1xb4-cutmix-pseudo-soft-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

_load, *_others = _base_.pseudo_set.pipeline
pseudo_set = dict(
    _base_.pseudo_set, pipeline=[_load, dict(type='KeepByConfidence'), *_others]
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='ConcatDataset',
            datasets=[_base_.train_set, pseudo_set],
        )
    )
)
