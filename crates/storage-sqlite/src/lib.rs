//! The embedded store: SQLite, one machine, several processes
