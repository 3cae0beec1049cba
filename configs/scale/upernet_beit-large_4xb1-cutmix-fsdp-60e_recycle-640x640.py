"""UPerNet-BEiT-L divided among GPUs: does it fit, a part of the weights on each?

Each process keeps its part of the weights, gradients and optimiser, and gathers the
layers of the backbone one by one. Four images a step, as the parent, on four GPUs.

Parent: configs/beit/upernet_beit-large_1xb4-cutmix-60e_recycle-640x640.py;
        nothing else changes.
Run:    tools/launch.sh tools/train.py \
            configs/scale/upernet_beit-large_4xb1-cutmix-fsdp-60e_recycle-640x640.py
"""

_base_ = [
    '../beit/upernet_beit-large_1xb4-cutmix-60e_recycle-640x640.py',
    '../../_base_/fsdp.py',
]

train_dataloader = dict(batch_size=1)
