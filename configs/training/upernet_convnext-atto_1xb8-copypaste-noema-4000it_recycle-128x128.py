"""No EMA: what do the averaged weights of the small models bring?

Parent: configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py;
        the weights that are judged and kept are those of the last step.
Run:    python tools/train.py \
            configs/training/upernet_convnext-atto_1xb8-copypaste-noema-4000it_recycle-128x128.py
"""

_base_ = '../small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

custom_hooks = _base_.custom_hooks[1:]
