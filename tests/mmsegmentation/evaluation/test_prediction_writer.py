"""What is written for each predicted image: class ids and how sure they are."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from mmsegmentation.command import InputError
from mmsegmentation.evaluation import PredictionWriter
from mmsegmentation.files import read_mask
from mmsegmentation.models.logit_map import DenseLogits


@pytest.fixture
def write(tmp_path):
    """Write predictions by image id and logits; give the folder."""

    def call(images='data/test/images', probs=False, **by_id):
        writer = PredictionWriter(str(tmp_path / 'pred'), images, probs)
        samples = []
        for name, logits in by_id.items():
            values = torch.as_tensor(logits, dtype=torch.float32)
            samples.append(
                {
                    'img_path': f'data/test/images/{name}',
                    'seg_logits': {'data': values},
                    'pred_sem_seg': {'data': values.argmax(0, keepdim=True)},
                }
            )
        writer.process({}, samples)
        assert writer.evaluate(len(samples)) == {}
        return tmp_path / 'pred'

    return call


def test_writer__names_files_by_the_path_below_images(write):
    logits = torch.zeros(2, 1, 1)
    folder = write(**{'b_1/0.jpg': logits, 'b_2/0.jpg': logits, '0.v1.png': logits})
    for part in ('masks', 'confidence'):
        found = (path for path in (folder / part).rglob('*') if path.is_file())
        names = sorted(path.relative_to(folder / part).as_posix() for path in found)
        assert names == ['0.v1.png', 'b_1/0.png', 'b_2/0.png']


def test_writer__image_of_another_folder_is_refused(write):
    with pytest.raises(ValueError, match='data/valid/images'):
        write('data/valid/images', **{'0.jpg': torch.zeros(2, 1, 1)})


def test_writer__ids_and_confidence_of_a_chance_that_is_known(write):
    # Logits are logarithms here, so that the chances can be read off.
    chances = np.array([[[0.75, 0.5]], [[0.25, 0.25]], [[1e-30, 0.25]]])
    folder = write(**{'a.jpg': np.log(chances)})
    assert read_mask(folder / 'masks/a.png').tolist() == [[0, 0]]
    confidence = read_mask(folder / 'confidence/a.png')
    assert confidence.tolist() == [[round(255 * 0.75), round(255 * 0.5)]]


def test_writer__confidence_is_the_softmax_of_the_winner(write):
    logits = torch.randn(11, 13, 17, generator=torch.Generator().manual_seed(0)) * 4
    folder = write(**{'a.jpg': logits})
    sure, ids = logits.double().softmax(0).max(0)
    assert read_mask(folder / 'masks/a.png').tolist() == ids.tolist()
    found = read_mask(folder / 'confidence/a.png')
    assert np.abs(found - 255 * sure.numpy()).max() <= 0.5 + 1e-4
    assert np.ptp(found) > 100


@pytest.mark.parametrize('scale', [1e4, -1e4])
def test_writer__confidence_of_far_logits_is_full(write, scale):
    folder = write(**{'a.jpg': [[[scale]], [[2 * scale]], [[3 * scale]]]})
    assert read_mask(folder / 'confidence/a.png').tolist() == [[255]]


def test_writer__impossible_class_has_no_say(write):
    # Merged views give the logarithm of a mean: minus infinity where all are sure.
    folder = write(**{'a.jpg': [[[-math.inf]], [[math.log(0.6)]], [[math.log(0.4)]]]})
    assert read_mask(folder / 'masks/a.png').tolist() == [[1]]
    assert read_mask(folder / 'confidence/a.png').tolist() == [[153]]


def test_writer__probabilities_of_all_classes_are_kept_when_asked(write):
    # Two cells of 4 x 4 pixels, one sure, one half and half.
    logits = np.zeros((2, 4, 8))
    logits[0, :, :4] = 100
    folder = write(**{'a.jpg': logits})
    assert not (folder / 'probs').exists()
    write(probs=True, **{'a.jpg': logits})
    assert np.load(folder / 'probs/a.npy').tolist() == [[[255, 128]], [[0, 128]]]


def test_writer__probabilities_of_sides_that_four_does_not_divide(write):
    # 5 x 6 pixels: the cells at the edges are the means of the pixels that they have.
    chances = np.full((5, 6), 0.8)
    chances[4, :4] = 0.2
    chances[:4, 4:] = 0.4
    chances[4, 4:] = 0.6
    folder = write(probs=True, **{'a.jpg': np.log([1 - chances, chances])})
    wanted = [[204, 102], [51, 153]]
    found = np.load(folder / 'probs/a.npy')
    assert found[1].tolist() == wanted
    assert found[0].tolist() == (255 - np.array(wanted)).tolist()


def test_writer__probabilities_of_strips_are_those_of_the_whole(write, monkeypatch):
    logits = torch.randn(11, 13, 17, generator=torch.Generator().manual_seed(0))
    whole = np.load(write(probs=True, **{'a.jpg': logits}) / 'probs/a.npy')
    monkeypatch.setattr(DenseLogits, 'strips', lambda self, multiple=1: four_rows(self))
    fine = np.load(write(probs=True, **{'a.jpg': logits}) / 'probs/a.npy')
    assert fine.shape == (11, 4, 5)
    assert fine.tolist() == whole.tolist()


def four_rows(logit_map):
    height = logit_map.shape[1]
    return (slice(start, min(start + 4, height)) for start in range(0, height, 4))


def test_writer__one_channel_has_two_planes_and_the_confidence_of_its_label(tmp_path):
    # MMSegmentation's keeps the probability of class 1; labels by a threshold of 0.45.
    chances = torch.tensor([[[0.9, 0.4, 0.5]]])
    sample = {
        'img_path': 'data/test/images/a.jpg',
        'seg_logits': {'data': chances},
        'pred_sem_seg': {'data': (chances > 0.45).float()},
    }
    writer = PredictionWriter(str(tmp_path), 'data/test/images', probs=True)
    writer.process({}, [sample])
    assert read_mask(tmp_path / 'masks/a.png').tolist() == [[1, 0, 1]]
    assert read_mask(tmp_path / 'confidence/a.png').tolist() == [[230, 153, 128]]
    assert np.load(tmp_path / 'probs/a.npy').tolist() == [[[102]], [[153]]]


def test_writer__class_ids_that_a_mask_cannot_hold_are_refused(write):
    logits = torch.zeros(257, 1, 1)
    logits[255] = 1
    folder = write(**{'a.jpg': logits})
    assert np.array(Image.open(folder / 'masks/a.png')).tolist() == [[255]]
    logits[256] = 2
    with pytest.raises(InputError, match=r'b\.jpg: class id 256 does not fit'):
        write(**{'b.jpg': logits})
