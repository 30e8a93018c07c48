//! File systems, disks and boots, as bubblewrap makes them.

mod store;
