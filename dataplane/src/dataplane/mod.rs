//! The pipeline.

/// stub
pub struct Dataplane;
