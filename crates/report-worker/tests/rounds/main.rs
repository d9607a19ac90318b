//! Rounds and the predictions in them, as clients see them: over HTTP, from a real database.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod activity;
mod lists;
mod market;
mod open_rounds;
mod predictions;
mod world;
