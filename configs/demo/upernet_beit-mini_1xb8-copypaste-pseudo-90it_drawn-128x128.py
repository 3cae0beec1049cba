"""What do 90 more iterations with pseudo labels add to the small BEiT?

More training and more data at once: the gain is not that of the labels alone.

Parent: upernet_beit-mini_1xb8-copypaste-360it_drawn-128x128.py,
        trained on from its checkpoint; only the data and the schedule change.
Run:    python tools/demo.py, which names the checkpoint (--cfg-options load_from=...)
"""

_base_ = './upernet_beit-mini_1xb8-copypaste-360it_drawn-128x128.py'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='ConcatDataset',
            datasets=[_base_.train_set, _base_.pseudo_set],
        )
    )
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
max_iters = 90
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=10),
    dict(type='PolyLR', power=1.0, eta_min=0, by_epoch=False, begin=10, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=45)
