//! Feeds against local servers that answer as the services' public documentation says, and as they should not.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

mod binance_stream;
mod hermes;
mod polled;
mod rest;
mod server;
mod several;
mod tls;
mod truth;
mod whatever;
