"""What a label may be suspected of, and by how much: in words, for all who show it."""

WRONG_CLASS, MISSING = 'wrong class', 'missing'
SUPERFLUOUS, SHIFTED = 'superfluous', 'shifted'
MEANINGS = {
    WRONG_CLASS: 'an object is predicted as another class',
    MISSING: 'an object is predicted where the label has none',
    SUPERFLUOUS: "an object's pixels are predicted as background",
    SHIFTED: 'an object is predicted, but in part elsewhere',
}
SCORE = (
    'how surely the model contradicts the label, from 0 to 1, higher for large objects '
    'and for classes that it knows well; no probability'
)
