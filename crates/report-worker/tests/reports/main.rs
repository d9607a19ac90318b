//! What the existing web front end for such coordinators relies on, over both databases.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod boards;
mod charts;
mod feeds;
mod models;
mod predictions;
mod shapes;
mod stage;
