"""Members of a vote as other programs write them, and those that cannot be used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.predictions import open_predictions
from utils.ensemble import main

NAMED = {'classes': ('Background', 'Paper', 'Metal')}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make_masks(tmp_path):
    """Write a plain folder of grey masks."""

    def make(name, label_maps):
        for path, rows in label_maps.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array(rows, np.uint8)).save(file)
        return tmp_path / name

    return make


@pytest.fixture
def table(tmp_path):
    path = tmp_path / 'names.txt'
    path.write_text('Background\nPaper\nMetal\n')
    return path


def outcome(folder):
    predictions = open_predictions(folder)
    return {i: predictions.mask(i).tolist() for i in predictions.image_ids}


def test_plain_folders__vote_with_the_recycling_table(run, make_masks, tmp_path):
    rows = ([[0, 10]], [[0, 10]], [[3, 3]])
    masks = [make_masks(f'{i}', {'b 1/가.png': row}) for i, row in enumerate(rows)]
    out = tmp_path / 'out'
    code, text, err = run(main, *masks, '--out', out)
    assert (code, err) == (0, '')
    assert 'ties to the earliest model' in text
    assert outcome(out) == {'b 1/가.jpg': [[0, 10]]}
    assert not (out / 'confidence').exists()
    origin = open_predictions(out).origin
    assert origin['members'] == [{'folder': str(folder)} for folder in masks]


def test_plain_folders__vote_beside_predictions(
    run, make_masks, make_predictions, table, tmp_path
):
    plain = make_masks('plain', {'a/1.png': [[2, 2]]})
    named = make_predictions('named', {'a/1.jpeg': [[1, 2]]}, **NAMED)
    out = tmp_path / 'out'
    for classes in ((), ('--classes', table)):
        code, _, err = run(main, plain, named, '--out', out, '--overwrite', *classes)
        assert (code, err) == (0, '')
        # The image is called as the predictions call it.
        assert outcome(out) == {'a/1.jpeg': [[2, 2]]}
        assert open_predictions(out).classes == NAMED['classes']


def test_plain_folders__ids_are_of_the_class_table(misuse, make_masks, table, tmp_path):
    one = make_masks('one', {'a.png': [[0, 3]]})
    two = make_masks('two', {'a.png': [[0, 255]]})
    out = ('--out', tmp_path / 'out')
    few = r'one/a\.png: holds class id 3, .* only 3 classes; .*--classes'
    misuse(main, few, one, two, *out, '--classes', table)
    misuse(main, r'two/a\.png: holds class id 255', one, two, *out)
    misuse(
        main, 'absent: no such file', one, two, *out, '--classes', tmp_path / 'absent'
    )


def test_class_table__of_predictions_must_be_the_named_one(
    misuse, make_predictions, table, tmp_path
):
    members = [make_predictions(name, {'a.jpg': [[0]]}) for name in ('one', 'two')]
    message = r'one: its classes differ from those of .*names\.txt'
    misuse(main, message, *members, '--out', tmp_path / 'out', '--classes', table)


def test_plain_folders__have_no_confidence_and_no_metrics(misuse, make_masks, tmp_path):
    members = [make_masks(name, {'a.png': [[0]]}) for name in ('one', 'two')]
    out = (*members, '--out', tmp_path / 'out')
    misuse(main, 'one: has no confidence/', *out, '--method', 'confidence')
    misuse(main, 'one: has no confidence/', *out, '--ties', 'confidence')
    misuse(main, 'one: has no probs/', *out, '--method', 'soft')
    misuse(main, 'no member has a metrics.json', *out, '--ties', 'accuracy')


def test_plain_folders__missing_extra_and_renamed_masks_are_named(
    misuse, make_masks, tmp_path
):
    one = make_masks('one', {'a/1.png': [[0]], 'a/2.png': [[0]]})
    less = make_masks('less', {'a/1.png': [[0]]})
    renamed = make_masks('renamed', {'a/1.png': [[0]], 'b/2.png': [[0]]})
    out = ('--out', tmp_path / 'out')
    misuse(main, r"'a/2.jpg': is in .*one but not in .*less", one, less, *out)
    misuse(main, r"'a/2.jpg': is in .*one but not in .*less", less, one, *out)
    misuse(main, r"'a/2.jpg': is in .*one but not in .*renamed", one, renamed, *out)
    empty = tmp_path / 'empty'
    empty.mkdir()
    misuse(main, 'empty: holds no PNG mask', one, empty, *out)
    (empty / 'masks').mkdir()
    misuse(main, 'has masks/ but no predictions.json', one, empty, *out)


def save_16_bit(path):
    Image.fromarray(np.zeros((1, 2), np.uint16)).save(path)


def save_colours(path):
    Image.new('RGB', (2, 1)).save(path)


def save_grey_alpha(path):
    Image.new('LA', (2, 1)).save(path)


def save_two_colours(path):
    Image.new('1', (2, 1)).save(path)


def save_larger(path):
    Image.new('L', (3, 1)).save(path)


def tear(path):
    path.write_bytes(path.read_bytes()[:45])


def empty(path):
    path.write_bytes(b'')


def save_text(path):
    path.write_text('no picture')


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (save_16_bit, r'a\.png: a mask has 8-bit class ids, this file has mode I;16'),
        (save_colours, r'a\.png: .* mode RGB; save it as a grey or palette PNG'),
        (save_grey_alpha, r'a\.png: .* mode LA'),
        (save_two_colours, r'a\.png: .* mode 1'),
        (save_larger, r"'a.jpg': has size \(1, 2\) in .*one, \(1, 3\) in .*two"),
        (tear, r'a\.png: not a readable image'),
        (empty, r'a\.png: not a readable image'),
        (save_text, r'a\.png: not a readable image'),
    ],
)
def test_mask__that_is_none_is_named(misuse, make_masks, tmp_path, spoil, message):
    one, two = (make_masks(name, {'a.png': [[0, 1]]}) for name in ('one', 'two'))
    spoil(two / 'a.png')
    misuse(main, message, one, two, '--out', tmp_path / 'out')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['one', 'two']


def test_mask__with_a_palette_is_read_by_its_ids(run, make_masks, tmp_path):
    one, two = (make_masks(name, {'a.png': [[0, 1]]}) for name in ('one', 'two'))
    image = Image.fromarray(np.array([[2, 1]], np.uint8))
    image.putpalette([255, 0, 0, 9, 9, 9, 1, 1, 1])
    image.save(one / 'a.png')
    assert run(main, one, two, '--out', tmp_path / 'out')[0] == 0
    assert outcome(tmp_path / 'out') == {'a.jpg': [[2, 1]]}


def test_mask__without_a_disagreement_comes_back(run, make_masks, tmp_path):
    rows = {'a.png': np.zeros((3, 5)), 'b.png': np.full((1, 1), 10)}
    members = [make_masks(name, rows) for name in ('one', 'two', 'three')]
    text = run(main, *members, '--out', tmp_path / 'out')[1]
    assert '0 of 16 pixels were tied' in text
    assert outcome(tmp_path / 'out')['b.jpg'] == [[10]]


def test_jobs__change_no_byte(run, make_predictions, tmp_path):
    rng = np.random.default_rng(0)
    members = []
    for name in ('one', 'two', 'three'):
        maps = {f'{i}.jpg': rng.integers(0, 3, (40, 50)) for i in range(9)}
        sure = {name: rng.integers(0, 256, (40, 50)) for name in maps}
        members.append(make_predictions(name, maps, sure, **NAMED))
    found = []
    for jobs in (1, 3):
        out = tmp_path / str(jobs)
        options = ('--ties', 'confidence', '--maps', '--jobs', jobs)
        code, text, err = run(main, *members, '--out', out, *options)
        assert (code, err) == (0, '')
        files = sorted(p for p in out.rglob('*') if p.is_file())
        content = {p.relative_to(out): p.read_bytes() for p in files}
        found.append((content, text.replace(str(out), '')))
    assert found[0] == found[1]
    assert len(found[0][0]) == 4 * 9 + 1


def test_jobs__an_error_in_one_of_them_is_one_line(misuse, make_masks, tmp_path):
    rows = {f'{i}.png': [[0, 1]] for i in range(8)}
    one, two = (make_masks(name, rows) for name in ('one', 'two'))
    tear(two / '5.png')
    out = ('--out', tmp_path / 'out', '--jobs', 2)
    misuse(main, r'two/5\.png: not a readable image', one, two, *out)
    assert not (tmp_path / 'out').exists()


def test_folder__that_cannot_be_written_is_one_line(misuse, make_masks, tmp_path):
    members = [make_masks(name, {'a.png': [[0]]}) for name in ('one', 'two')]
    (tmp_path / 'file').write_text('')
    misuse(main, 'cannot be made', *members, '--out', tmp_path / 'file/out')


def test_folders__may_be_relative(make_masks, tmp_path):
    for name in ('one', 'two'):
        make_masks(name, {'a.png': [[0, 1]]})
    command = [sys.executable, str(ROOT / 'utils/ensemble.py'), 'one', 'two']
    done = subprocess.run(
        [*command, '--out', 'out', '--jobs', '2'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert (done.returncode, done.stderr) == (0, '')
    content = json.loads((tmp_path / 'out/predictions.json').read_text())
    assert [member['folder'] for member in content['members']] == ['one', 'two']


def test_out__inside_a_member_is_refused(misuse, make_masks, tmp_path):
    masks = [make_masks(f'{i}', {'a.png': [[i]]}) for i in range(2)]
    misuse(main, r'vote: lies in .*1; choose', *masks, '--out', masks[1] / 'b' / 'vote')
    assert [path.name for path in masks[1].iterdir()] == ['a.png']


@pytest.mark.skipif(sys.platform == 'darwin', reason='its file names are UTF-8')
def test_names__that_are_not_utf8_are_one_line(misuse, make_masks, tmp_path):
    masks = [
        make_masks(os.fsdecode(name), {'a.png': [[1]]}) for name in (b'a', b'\xff')
    ]
    misuse(main, r'udcff.*: is not UTF-8; rename it', *masks, '--out', tmp_path / 'out')
    out = tmp_path / os.fsdecode(b'out\xff')
    misuse(main, r'udcff.*: is not UTF-8; rename it', masks[0], masks[0], '--out', out)


def test_plain_folders__mask_in_capitals_is_not_left_out_in_silence(
    misuse, make_masks, tmp_path
):
    masks = [make_masks(f'{i}', {'a.png': [[i]], 'b.PNG': [[i]]}) for i in range(2)]
    message = r'b\.PNG: does not end in \.png; rename it'
    misuse(main, message, *masks, '--out', tmp_path / 'out')
