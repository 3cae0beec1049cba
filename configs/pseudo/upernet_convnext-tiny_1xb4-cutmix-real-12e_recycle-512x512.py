"""A last stage on real labels alone: what is left of the pseudo labels' errors?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py,
        trained on from a checkpoint that has learnt from pseudo labels; a quarter of
        the learning rate, a fifth of the epochs.
Run:    python tools/train.py \
            configs/pseudo/upernet_convnext-tiny_1xb4-cutmix-real-12e_recycle-512x512.py \
            --cfg-options load_from=<that checkpoint>
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

optim_wrapper = dict(optimizer=dict(lr=2e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=500),
    dict(
        type='PolyLR',
        power=1.0,
        eta_min=0.0,
        by_epoch=True,
        begin=0,
        end=12,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=12)
