//! The program, the rules and other people's programs, each of which reads what the other wrote.

mod airgap;
mod archives;
mod caches;
mod containerfiles;
mod findings;
mod judge;
mod layouts;
mod load;
mod peers;
mod presets;
mod programs;
mod referrers;
mod release;
mod remote_execution;
mod rootfs;
mod scans;
