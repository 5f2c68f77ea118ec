//! The parts of a boot test, put together.

mod follower;
mod matcher;
