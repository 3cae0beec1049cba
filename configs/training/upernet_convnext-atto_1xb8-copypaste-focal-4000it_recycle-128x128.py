"""Focal loss: do hard pixels deserve more weight than easy ones?

Parent: configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/training/upernet_convnext-atto_1xb8-copypaste-focal-4000it_recycle-128x128.py
"""

_base_ = '../small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

model = dict(
    decode_head=dict(
        loss_decode=dict(
            _delete_=True, type='SoftmaxFocalLoss', gamma=2.0, loss_weight=1.0
        )
    )
)
