-- From now on `predictions.answer` holds packed answers, which begin with the number of their form. Those stored before are
-- zstd frames of texts and stay as they are, told by their first byte (0x28): to pack them would mean to write the whole
-- table anew. So nothing changes here but the version: it keeps programs away that would not know what they read.
SELECT 1;
