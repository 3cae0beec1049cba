"""Cross entropy and Dice: does a loss of areas help small and rare classes?

Parent: configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/training/upernet_convnext-atto_1xb8-copypaste-dice-4000it_recycle-128x128.py
"""

_base_ = '../small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

model = dict(
    decode_head=dict(
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_weight=1.0),
            dict(type='ClasswiseDiceLoss', loss_weight=1.0),
        ]
    )
)
