"""Images of rare classes more often: is seeing them enough to learn them?

Parent: configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py;
        half by chance, half by their share of a class's pixels.
Run:    python tools/train.py \
            configs/training/upernet_convnext-atto_1xb8-copypaste-rareclass-4000it_recycle-128x128.py
"""

_base_ = '../small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

train_dataloader = dict(sampler=dict(type='RareClassInfiniteSampler', prefer_rare=0.5))
