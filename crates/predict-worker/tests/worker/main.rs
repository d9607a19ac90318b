//! What the predict worker promises, over real sockets and a real database, one instant at a time.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod answers;
mod database;
mod delivery;
mod field;
mod journal;
mod leaders;
mod live;
mod metrics;
mod prices;
mod reload;
mod repair;
mod slots;
mod switched_store;
mod world;
