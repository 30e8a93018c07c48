//! File systems, disks and boots, as bubblewrap makes them.

mod bazel;
mod store;
