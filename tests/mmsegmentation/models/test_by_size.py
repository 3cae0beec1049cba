"""Batches of images of several sizes: each image gets its own prediction."""

import pytest
import torch

from mmsegmentation.models.by_size import predict_by_size


def means(data):
    """Predict the mean of each image beside what its sample is."""
    images = torch.stack(list(data['inputs']))
    values = images.mean((1, 2, 3)).tolist()
    return list(zip(values, data['data_samples'], strict=True))


def images_of(*sides):
    return [torch.full((3, side, 2), float(i)) for i, side in enumerate(sides)]


@pytest.mark.parametrize(
    'images',
    [images_of(4, 4, 4), torch.stack(images_of(4, 4, 4)), images_of(4, 9, 4)],
    ids=['of one size', 'stacked', 'of two sizes'],
)
def test_batch__keeps_its_order(images):
    data = {'inputs': images, 'data_samples': ['a', 'b', 'c']}
    assert predict_by_size(means, data) == [(0, 'a'), (1, 'b'), (2, 'c')]


def test_batch__is_predicted_a_part_of_one_size_at_a_time():
    sizes = []

    def step(data):
        sizes.append([tuple(image.shape) for image in data['inputs']])
        return means(data)

    predict_by_size(step, {'inputs': images_of(4, 9, 4), 'data_samples': [1, 2, 3]})
    assert sizes == [[(3, 4, 2), (3, 4, 2)], [(3, 9, 2)]]
