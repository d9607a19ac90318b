//! The production store: PostgreSQL
