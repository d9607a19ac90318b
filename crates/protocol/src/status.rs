//! Status codes that model nodes answer with.

/// It worked.
pub const SUCCESS: &str = "SUCCESS";
/// We sent something wrong; never held against the model.
pub const INVALID_ARGUMENT: &str = "INVALID_ARGUMENT";
/// The node has not been set up; never held against the model.
pub const FAILED_PRECONDITION: &str = "FAILED_PRECONDITION";
/// No such class or method.
pub const BAD_IMPLEMENTATION: &str = "BAD_IMPLEMENTATION";
/// The constructor raised.
pub const SETUP_FAILED: &str = "SETUP_FAILED";
/// The method raised.
pub const MODEL_FAILED: &str = "MODEL_FAILED";
/// Anything else.
pub const UNKNOWN: &str = "UNKNOWN";
