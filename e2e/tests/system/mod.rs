//! Machines, and Bazels on them, that are set up in unusual ways: disks, boots, sandboxes, flags of later versions.

mod bazel;
mod bazel_next;
mod filesystems;
mod setups;
mod store;
