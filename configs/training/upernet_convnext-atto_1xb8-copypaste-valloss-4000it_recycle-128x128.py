"""Validation loss: does the model overfit before the scores show it?

Parent: configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py;
        weights and scores are those of the parent.
Run:    python tools/train.py \
            configs/training/upernet_convnext-atto_1xb8-copypaste-valloss-4000it_recycle-128x128.py
"""

_base_ = '../small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

val_cfg = dict(type='LossValLoop')
