//! Distributions and scoring rules; pure functions
