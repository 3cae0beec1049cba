"""Cross entropy and Lovász: does a loss that stands for the IoU raise the IoU?

Parent: configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/training/upernet_convnext-atto_1xb8-copypaste-lovasz-4000it_recycle-128x128.py
"""

_base_ = '../small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

# Over the whole batch; MMSegmentation asks for this reduction there.
model = dict(
    decode_head=dict(
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_weight=1.0),
            dict(type='LovaszLoss', reduction='none', loss_weight=1.0),
        ]
    )
)
