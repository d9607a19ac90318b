//! Rounds: prices in, questions out, predictions stored
