-- Answers stored before are zstd frames of texts and stay as they are, told by their first byte (0x28): to pack them would
-- mean to write the whole table anew. The new version keeps programs away that would not know what they read.
COMMENT ON COLUMN predictions.answer IS
    'the valid answer: packed, beginning with the number of the form; before migration 4 a zstd frame of its text';
