//! The ModelRunner client: who runs where, and one call at a time to each
