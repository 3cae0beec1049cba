"""Focal loss: do hard pixels deserve more weight than easy ones?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/augmentation/upernet_convnext-tiny_1xb4-cutmix-focal-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

model = dict(
    decode_head=dict(
        loss_decode=dict(
            _delete_=True, type='SoftmaxFocalLoss', gamma=2.0, loss_weight=1.0
        )
    ),
    auxiliary_head=dict(
        loss_decode=dict(
            _delete_=True, type='SoftmaxFocalLoss', gamma=2.0, loss_weight=0.4
        )
    ),
)
