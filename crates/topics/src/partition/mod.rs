//! placeholder
/// The one epoch.
pub const LEADER_EPOCH: i32 = 0;
