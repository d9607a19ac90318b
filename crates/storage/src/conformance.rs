//! The tests that every database passes.
